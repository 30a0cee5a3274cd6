"""The native core: C kernels without threads and without a framework (bpx_native.h), by ctypes.

The library is built by `pip install` where a C compiler is found and is absent otherwise; the
kernels that need it then refuse and the plain rules run. Nothing here imports a framework or NumPy.
How kernels are written and called: docs/native.md.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SOURCES = tuple(sorted(p.name for p in FOLDER.glob("*.c")))
HEADERS = tuple(sorted(p.name for p in FOLDER.glob("*.h")))


def digest() -> str:
    """What the sources are; a library built from others is not loaded."""
    text = b"".join((FOLDER / name).read_bytes() for name in (*SOURCES, *HEADERS))
    return hashlib.sha256(text).hexdigest()[:16]


@functools.cache
def _load() -> ctypes.CDLL | str:
    if own := os.environ.get("BPX_NATIVE_LIBRARY"):  # one built otherwise, with sanitizers
        paths = [Path(own)]
    else:
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


@functools.cache
def kernel(name: str) -> Callable[[bytes, Any, Any], int]:
    """The kernel bpx_`name`: (packed arguments, parallel-for, host) -> status."""
    function = getattr(library(), f"bpx_{name}")
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)
    found: Callable[[bytes, Any, Any], int] = function
    return found


def check(status: int) -> None:
    """Raise for a kernel's return value."""
    if status != 0:
        raise MemoryError("bpx.native: no memory for the partial sums")
