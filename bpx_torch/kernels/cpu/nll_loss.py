"""nll_loss for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/losses/nll_loss.py.
"""

import torch

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(x, target, ignore_index, reduction):
    label = target.element_size(), *ignoring(ignore_index)
    return target.numel(), x.shape[-1], *label, REDUCTIONS[reduction]


def forward(x, target, weight, *, ignore_index, reduction):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    x, weight, target = readable(x, dtype), readable(weight, wide), readable(target, target.dtype)
    picked = torch.empty(target.shape, dtype=wide)
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    of = sizes(x, target, ignore_index, reduction)
    _call.run("nll_loss_forward", dtype, (x, target, weight, y, picked), of)
    return y, (picked,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    x, target, weight = arrays  # of x there are shape and dtype alone
    dtype, wide = x.dtype, arithmetic(x.dtype)
    dy, weight, target = readable(dy, dtype), readable(weight, wide), readable(target, target.dtype)
    picked = readable(residuals[0], wide)
    dx = torch.empty(x.shape, dtype=dtype) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[2] else None
    of = sizes(x, target, ignore_index, reduction)
    _call.run("nll_loss_backward", dtype, (dy, target, weight, picked, dx, dweight), of)
    return dx, None, dweight
