"""torch's own threads as the parallel-for of the native core."""

import ctypes
import functools
from pathlib import Path

import torch

from bpx import native


class Host(ctypes.Structure):
    """bpx_openmp_host of bpx_native.h."""

    _fields_ = (
        ("parallel", ctypes.c_void_p),
        ("number", ctypes.c_void_p),
        ("threads", ctypes.c_uint),
    )


@functools.cache
def _openmp() -> tuple[int, int] | str:
    """(GOMP_parallel, omp_get_thread_num) of the OpenMP library that torch itself is linked to,
    looked up through torch's; why not, where they are not found."""
    try:
        found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel = ctypes.cast(found.GOMP_parallel, ctypes.c_void_p).value
        number = ctypes.cast(found.omp_get_thread_num, ctypes.c_void_p).value
    except (OSError, AttributeError) as error:
        return str(error)
    return (parallel, number) if parallel and number else "an entry is null"


def serial() -> str | None:
    """None if kernels share torch's threads, else why they run on one."""
    found = _openmp()
    return f"torch's threads were not found: {found}" if isinstance(found, str) else None


def addresses():
    """What bpx_openmp_host takes of torch's threads, and the core's loop over them."""
    loop = ctypes.cast(native.library().bpx_openmp_for, ctypes.c_void_p).value
    return (*_openmp(), loop)


def parallel_for():
    """(function, host), a kernel's last two arguments, for the threads that torch uses now."""
    return _parallel_for(torch.get_num_threads())


@functools.cache
def _parallel_for(threads):
    if threads == 1 or serial() is not None:
        return None, None
    function = ctypes.cast(native.library().bpx_openmp_for, ctypes.c_void_p)
    return function, ctypes.byref(Host(*_openmp(), threads))
