"""The native core: C kernels without threads and without a framework (bpx_native.h), by ctypes.

The library is built by `pip install` where a C compiler is found and is absent otherwise; the
kernels that need it then refuse and the plain rules run. Nothing here imports a framework or NumPy.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = ("layer_norm.c", "openmp.c")
HEADERS = ("bpx_native.h", "core.h", "layer_norm_body.h")

_FORWARD = (*[ctypes.c_void_p] * 6, *[ctypes.c_int64] * 2, ctypes.c_double, *[ctypes.c_void_p] * 2)
_BACKWARD = (*[ctypes.c_void_p] * 8, *[ctypes.c_int64] * 2, *[ctypes.c_void_p] * 2)
FUNCTIONS = {
    f"bpx_layer_norm_{way}_{dtype}": signature
    for way, signature in (("forward", _FORWARD), ("backward", _BACKWARD))
    for dtype in ("f32", "f64", "bf16")
}


def digest() -> str:
    """What the sources are; a library built from others is not loaded."""
    text = b"".join((FOLDER / name).read_bytes() for name in (*SOURCES, *HEADERS))
    return hashlib.sha256(text).hexdigest()[:16]


@functools.cache
def _load() -> ctypes.CDLL | str:
    paths = [FOLDER / f"_core{suffix}" for suffix in EXTENSION_SUFFIXES]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        return "the native library was not built (no C compiler at install?)"
    try:
        library = ctypes.CDLL(str(path))
        library.bpx_sources.restype = ctypes.c_char_p
        built_from = library.bpx_sources().decode()
    except (OSError, AttributeError) as error:
        return f"the native library does not load: {error}"
    if built_from != digest():
        return "the native library was built from other sources; install bpx again"
    for name, signature in FUNCTIONS.items():
        getattr(library, name).argtypes = signature
    return library


def available() -> str | None:
    """None if the library is loaded, else why not."""
    found = _load()
    return found if isinstance(found, str) else None


def library() -> ctypes.CDLL:
    """The loaded library; ask `available` first."""
    found = _load()
    if isinstance(found, str):
        raise ImportError(found)
    return found


def check(status: int) -> None:
    """Raise for a kernel's return value."""
    if status != 0:
        raise MemoryError("bpx.native: no memory for the partial sums")
