"""cross_entropy for torch on the CPU: the native core by pointer.

Each row of logits is read once in forward, once in backward, whatever the options.
Maths, shapes and source: bpx/losses/cross_entropy.py.
"""

import torch

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(logits, target, ignore_index, reduction):
    label = target.element_size(), *ignoring(ignore_index)
    return target.numel(), logits.shape[-1], *label, REDUCTIONS[reduction]


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing, above=False):
    """With `above`, the top of each row and what lse is above it are kept in place of lse."""
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, weight = readable(logits, dtype), readable(weight, wide)
    target = readable(target, target.dtype)
    lse = torch.empty(target.shape, dtype=wide)
    top = torch.empty_like(lse) if above else None
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    of = sizes(logits, target, ignore_index, reduction)
    given = (logits, target, weight, y, lse, top)
    _call.run("cross_entropy_forward", dtype, given, of, (label_smoothing,))
    return y, (top, lse) if above else (lse,)


def backward(
    dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing, dlogits=None
):
    """dlogits is written over the array given for it."""
    logits, target, weight = arrays
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, weight, dy = readable(logits, dtype), readable(weight, wide), readable(dy, dtype)
    target, lse = readable(target, target.dtype), readable(residuals[0], wide)
    if needs[0] and dlogits is None:
        dlogits = torch.empty_like(logits)
    dweight = torch.empty_like(weight) if needs[2] else None
    of = sizes(logits, target, ignore_index, reduction)
    given = (dy, logits, target, weight, lse, dlogits, dweight)
    _call.run("cross_entropy_backward", dtype, given, of, (label_smoothing,))
    return dlogits, None, dweight
