"""jsd for torch on the CPU: the native core by pointer. Maths, shapes and source:
bpx/losses/jsd.py."""

import torch

from bpx.native.losses import REDUCTIONS
from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import readable


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def forward(x, target, *, reduction):
    dtype = x.dtype
    x, target = readable(x, dtype), readable(target, dtype)
    y = torch.empty(x.shape[:-1] if reduction == "none" else (), dtype=dtype)
    sizes = (x.shape[:-1].numel(), x.shape[-1], REDUCTIONS[reduction])
    _call.run("jsd_forward", dtype, (x, target, y), sizes)
    return y, ()


def backward(dy, arrays, residuals, needs, *, reduction):
    x, target = arrays
    dtype = x.dtype
    x, target, dy = readable(x, dtype), readable(target, dtype), readable(dy, dtype)
    dx = torch.empty_like(x) if needs[0] else None
    dtarget = torch.empty_like(target) if needs[1] else None
    sizes = (x.shape[:-1].numel(), x.shape[-1], REDUCTIONS[reduction])
    _call.run("jsd_backward", dtype, (dy, x, target, dx, dtarget), sizes)
    return dx, dtarget
