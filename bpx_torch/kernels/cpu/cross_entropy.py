"""cross_entropy for torch on the CPU: the native core by pointer.

Each row of logits is read once in forward, once in backward, whatever the options. Logits of which
the classes lie before the places, as an image's are handed over, are read as they lie.
Maths, shapes and source: bpx/losses/cross_entropy.py.
"""

import torch

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(logits, target, ignore_index, reduction):
    label = target.element_size(), *ignoring(ignore_index)
    inner = 1 if logits.is_contiguous() else logits.stride(-1)
    return target.numel(), logits.shape[-1], inner, *label, REDUCTIONS[reduction]


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, weight = _losses.in_place(logits), readable(weight, wide)
    target = readable(target, target.dtype)
    lse = torch.empty(target.shape, dtype=wide)
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    of = sizes(logits, target, ignore_index, reduction)
    given = (logits, target, weight, y, lse)
    _call.run("cross_entropy_forward", dtype, given, of, (label_smoothing,))
    return y, (lse,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    logits, target, weight = arrays
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, weight = _losses.in_place(logits), readable(weight, wide)
    dy = readable(dy, dtype)
    target, lse = readable(target, target.dtype), readable(residuals[0], wide)
    dlogits = torch.empty_like(logits) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[2] else None
    of = sizes(logits, target, ignore_index, reduction)
    given = (dy, logits, target, weight, lse, dlogits, dweight)
    _call.run("cross_entropy_backward", dtype, given, of, (label_smoothing,))
    return dlogits, None, dweight
