"""cosine_embedding for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/losses/cosine_embedding.py.
"""

import torch

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import readable


def refuses(arrays, dims):
    return _losses.refuses(arrays, *arrays[1:])


def forward(x1, x2, target, *, margin, eps, reduction):
    dtype = x1.dtype
    x1, x2, target = readable(x1, dtype), readable(x2, dtype), readable(target, dtype)
    y = torch.empty(target.shape if reduction == "none" else (), dtype=dtype)
    sizes = (target.numel(), x1.shape[-1], REDUCTIONS[reduction])
    _call.run("cosine_forward", dtype, (x1, x2, target, y), sizes, (eps, margin))
    return y, ()


def backward(dy, arrays, residuals, needs, *, margin, eps, reduction):
    dtype = arrays[0].dtype
    given = [readable(a, dtype) for a in (dy, *arrays)]
    made = [torch.empty_like(a) if n else None for a, n in zip(given[1:], needs, strict=True)]
    sizes = (given[3].numel(), given[1].shape[-1], REDUCTIONS[reduction])
    _call.run("cosine_backward", dtype, (*given, *made), sizes, (eps, margin))
    return tuple(made)
