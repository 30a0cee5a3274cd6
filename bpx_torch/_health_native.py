"""Statistics of tensors on the CPU by the native core, for bpx_torch.health."""

import ctypes
import math
import struct
from array import array

import torch

from bpx import native
from bpx_torch.kernels.cpu._call import NAMES
from bpx_torch.kernels.cpu._pool import parallel_for

PACK, ALIVE = struct.Struct("3q2d").pack, struct.Struct("4q").pack
NATIVE = (torch.float32, torch.bfloat16)
UP, DOWN = 2.0**96, 2.0**-96  # factors of a sum of squares, of which float32 holds one


def takes(x):
    """Whether the native core reads an array."""
    plain = x.is_cpu and x.dtype in NATIVE and x.is_contiguous() and not x.is_neg()
    return plain and native.available() is None


def moments(x):
    """Of one array, in one call; None where it has no kernel, or where a number is
    beyond what float32 holds."""
    if not takes(x):
        return None
    out, n = (ctypes.c_float * 6)(), x.numel()
    call = PACK(x.data_ptr(), ctypes.addressof(out), n, UP, DOWN)
    native.check(native.kernel(f"moments_{NAMES[x.dtype]}")(call, *parallel_for()))
    return read(n, out)


def read(n, out):
    """The moments of n elements from what the core has written."""
    bad, total, upper, lower, *_ = out
    if not math.isfinite(total):
        return None
    return n, total / n, (upper * DOWN if math.isfinite(upper) else lower * UP) / n, int(bad)


def each(arrays, others=None):
    """The moments of every array, or its distance from another of its shape and dtype, in one call
    for each dtype; None for those that are not taken, or where float32 does not hold a number."""
    found, places = [None] * len(arrays), {}
    for i, a in enumerate(arrays):
        if a.numel() and takes(a) and (others is None or takes(others[i])):
            places.setdefault(a.dtype, []).append(i)
    for dtype, which in places.items():
        ends = [others[i].data_ptr() if others else 0 for i in which]
        sizes = [arrays[i].numel() for i in which]
        table = array("q", [*(arrays[i].data_ptr() for i in which), *ends, *sizes])
        out = (ctypes.c_float * (6 * len(which)))()
        call = PACK(table.buffer_info()[0], ctypes.addressof(out), len(which), UP, DOWN)
        native.check(native.kernel(f"moments_each_{NAMES[dtype]}")(call, *parallel_for()))
        values = out[:]
        for k, i in enumerate(which):
            row = values[6 * k : 6 * k + 6]
            if others is None:
                found[i] = read(sizes[k], row)
            elif math.isfinite(row[0]):
                found[i] = row[0]
    return found


def alive(x):
    """Which units on the last axis have a value other than zero."""
    found = torch.empty(x.shape[-1:], dtype=torch.bool)
    rows = x.numel() // found.numel()
    call = ALIVE(x.data_ptr(), found.data_ptr(), rows, found.numel())
    native.check(native.kernel(f"alive_{NAMES[x.dtype]}")(call, None, None))
    return found
