"""multi_margin for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/losses/multi_margin.py.
"""

import torch

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(x, target, reduction, p):
    return target.numel(), x.shape[-1], target.element_size(), REDUCTIONS[reduction], p


def forward(x, target, weight, *, p, margin, reduction):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    x, weight, target = readable(x, dtype), readable(weight, wide), readable(target, target.dtype)
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    of = sizes(x, target, reduction, p)
    _call.run("multi_margin_forward", dtype, (x, target, weight, y), of, (margin,))
    return y, ()


def backward(dy, arrays, residuals, needs, *, p, margin, reduction):
    x, target, weight = arrays
    dtype, wide = x.dtype, arithmetic(x.dtype)
    x, weight, target = readable(x, dtype), readable(weight, wide), readable(target, target.dtype)
    dy = readable(dy, dtype)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[2] else None
    of = sizes(x, target, reduction, p)
    given = (dy, x, target, weight, dx, dweight)
    _call.run("multi_margin_backward", dtype, given, of, (margin,))
    return dx, None, dweight
