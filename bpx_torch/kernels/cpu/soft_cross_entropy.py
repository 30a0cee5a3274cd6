"""soft_cross_entropy for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/losses/soft_cross_entropy.py.
"""

import torch

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def forward(logits, target, weight, *, reduction, label_smoothing):
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, target, weight = (
        readable(logits, dtype),
        readable(target, dtype),
        readable(weight, wide),
    )
    rows = logits.shape[:-1]
    lse = torch.empty(rows, dtype=wide)
    y = torch.empty(rows if reduction == "none" else (), dtype=dtype)
    sizes = (lse.numel(), logits.shape[-1], REDUCTIONS[reduction])
    given = (logits, target, weight, y, lse)
    _call.run("soft_cross_entropy_forward", dtype, given, sizes, (label_smoothing,))
    return y, (lse,)


def backward(dy, arrays, residuals, needs, *, reduction, label_smoothing):
    logits, target, weight = arrays
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    logits, target, weight = (
        readable(logits, dtype),
        readable(target, dtype),
        readable(weight, wide),
    )
    dy, lse = readable(dy, dtype), readable(residuals[0], wide)
    made = (
        torch.empty_like(a) if need else None
        for a, need in zip((logits, target, weight), needs, strict=True)
    )
    dlogits, dtarget, dweight = made
    sizes = (lse.numel(), logits.shape[-1], REDUCTIONS[reduction])
    given = (dy, logits, target, weight, lse, dlogits, dtarget, dweight)
    _call.run("soft_cross_entropy_backward", dtype, given, sizes, (label_smoothing,))
    return dlogits, dtarget, dweight
