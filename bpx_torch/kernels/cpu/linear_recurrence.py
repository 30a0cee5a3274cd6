"""linear_recurrence for torch on the CPU: the native core by pointer, on torch's own threads.

A walk through time for each batch element and block of columns, every array read or written once.
Maths, shapes and source: bpx/layers/linear_recurrence.py.
"""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    a, b, _ = arrays
    if a.dtype != b.dtype:
        return f"b is {b.dtype} beside {a.dtype}"
    return _call.refuses(arrays)


def _sizes(a, reverse):
    steps, columns = a.shape[-2:]
    return a.numel() // (steps * columns), steps, columns, int(reverse)


def forward(a, b, h0, *, reverse):
    dtype = a.dtype
    a, b, h0 = readable(a, dtype), readable(b, dtype), readable(h0, arithmetic(dtype))
    y = torch.empty_like(a)
    _call.run("linear_recurrence_forward", dtype, (a, b, h0, y), _sizes(a, reverse))
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, reverse):
    a, _, h0 = arrays
    dtype, wide = a.dtype, arithmetic(a.dtype)
    a, dy, h0 = readable(a, dtype), readable(dy, dtype), readable(h0, wide)
    y = readable(residuals[0], dtype)
    if y.shape != a.shape:  # of few steps the last state was not kept; it is not read
        last = a[..., :1, :]
        y = torch.cat([last, y] if reverse else [y, last], -2)
    da = torch.empty_like(a) if needs[0] else None
    db = torch.empty_like(a) if needs[1] else None
    dh0 = torch.empty_like(h0) if needs[2] else None
    given = (dy, a, h0, y, da, db, dh0)
    _call.run("linear_recurrence_backward", dtype, given, _sizes(a, reverse))
    return da, db, dh0
