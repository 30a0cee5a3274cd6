"""Large pages for large results.

The C library takes 32 MiB and more from the system anew for each array, and the first write to each
of its pages costs an interrupt: sixteen thousand in 64 MiB of pages of 4 KiB.
"""

import ctypes
import functools
import mmap

LARGE = 32 << 20  # bytes
PAGE = 2 << 20


@functools.cache
def _madvise():
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise


def ask(array):
    """Large pages for this contiguous array where the system has them for who asks: a hint, no
    more."""
    if array.nbytes < LARGE or (madvise := _madvise()) is None:
        return
    start = array.data_ptr()
    first, last = -(-start // PAGE) * PAGE, (start + array.nbytes) // PAGE * PAGE
    madvise(first, last - first, mmap.MADV_HUGEPAGE)
