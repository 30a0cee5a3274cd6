"""nll_loss for torch on the CPU: the native core by pointer. An image whose classes lie before the
places, as it is handed over, is read as it lies, and its gradient lies so where x is known to.

Maths, shapes and source: bpx/losses/nll_loss.py.
"""

import math

import torch

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(x, target, inner, ignore_index, reduction):
    label = target.element_size(), *ignoring(ignore_index)
    return target.numel(), x.shape[-1], inner, *label, REDUCTIONS[reduction]


def forward(x, target, weight, *, ignore_index, reduction):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    x, weight = _losses.in_place(x), readable(weight, wide)
    target = readable(target, target.dtype)
    picked = torch.empty(target.shape, dtype=wide)
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    inner = 1 if x.is_contiguous() else x.stride(-1)
    of = sizes(x, target, inner, ignore_index, reduction)
    _call.run("nll_loss_forward", dtype, (x, target, weight, y, picked), of)
    return y, (picked,)


def places(x):
    """How many rows of the gradient lie side by side. Of x there is the axis along which its
    elements do (bpx_torch/_given.py), or nothing."""
    return math.prod(x.shape[1:-1]) if 1 in x.stride()[1:-1] else 1


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    x, target, weight = arrays  # of x there are shape and dtype alone
    dtype, wide = x.dtype, arithmetic(x.dtype)
    dy, weight, target = readable(dy, dtype), readable(weight, wide), readable(target, target.dtype)
    picked, inner, dx = readable(residuals[0], wide), places(x), None
    if needs[0]:
        *rows, classes = x.shape
        side = (x.shape[0], classes, *rows[1:]) if inner > 1 else x.shape
        dx = torch.empty(side, dtype=dtype)
        dx = dx.movedim(1, -1) if inner > 1 else dx
    dweight = torch.empty_like(weight) if needs[2] else None
    of = sizes(x, target, inner, ignore_index, reduction)
    _call.run("nll_loss_backward", dtype, (dy, target, weight, picked, dx, dweight), of)
    return dx, None, dweight
