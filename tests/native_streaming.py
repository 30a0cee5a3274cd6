"""The native core's switch for results that are written past the caches (bpx/native/stream.h)."""

import contextlib
import ctypes

from bpx import native


@contextlib.contextmanager
def streamed(least=1):
    """Results of so many bytes and more are, in here; 0 for the core's own choice."""
    switch = native.library().bpx_stream_from
    switch.argtypes, switch.restype = (ctypes.c_int64,), ctypes.c_int64
    before = switch(least)
    try:
        yield
    finally:
        switch(before)
