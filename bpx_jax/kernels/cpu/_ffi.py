"""The native core's XLA FFI targets: compiled once per jaxlib, registered once per process."""

import ctypes
import functools
from pathlib import Path

import jax

from bpx import native
from bpx.native import compile

FORWARD, BACKWARD = "bpx_layer_norm_forward", "bpx_layer_norm_backward"


@functools.cache
def available() -> str | None:
    """None once the targets are registered, else why they are not. The first call may compile."""
    if (reason := native.available()) is not None:
        return reason
    try:
        path = compile.shared_library("xla_ffi.cc", Path(jax.ffi.include_dir()))
        shim = ctypes.CDLL(str(path))
    except (compile.CompileError, OSError) as error:
        return str(error)
    library = native.library()
    core = [ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in native.FUNCTIONS]
    shim.bpx_xla_bind((ctypes.c_void_p * len(core))(*core))
    for name in (FORWARD, BACKWARD):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(shim, name)), platform="cpu")
    return None
