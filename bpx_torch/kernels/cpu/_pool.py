"""torch's own threads as the parallel-for of the native core."""

import ctypes
import functools
from pathlib import Path

import torch

from bpx import native


class Host(ctypes.Structure):
    """bpx_openmp_host of bpx_native.h."""

    _fields_ = (("parallel", ctypes.c_void_p), ("threads", ctypes.c_uint))


@functools.cache
def _gomp_parallel() -> int | str:
    """The entry of the OpenMP library that torch itself is linked to, looked up through torch's."""
    try:
        found = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        return ctypes.cast(found.GOMP_parallel, ctypes.c_void_p).value or "GOMP_parallel is null"
    except (OSError, AttributeError) as error:
        return str(error)


def serial() -> str | None:
    """None if kernels share torch's threads, else why they run on one."""
    found = _gomp_parallel()
    return f"torch's threads were not found: {found}" if isinstance(found, str) else None


def parallel_for():
    """(function, host), a kernel's last two arguments, for the threads that torch uses now."""
    return _parallel_for(torch.get_num_threads())


@functools.cache
def _parallel_for(threads):
    if threads == 1 or serial() is not None:
        return None, None
    function = ctypes.cast(native.library().bpx_openmp_for, ctypes.c_void_p)
    return function, ctypes.byref(Host(_gomp_parallel(), threads))
