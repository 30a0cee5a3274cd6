"""prelu for torch on the CPU, on torch's own threads. Maths, shapes and source:
bpx/layers/prelu.py."""

import math

import torch

from bpx_torch.kernels._layout import channels_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(shape, slopes, axis):
    """What lies before, along and behind the axis of the slopes."""
    if slopes == 1:
        return 1, 1, math.prod(shape)
    axis %= len(shape)
    return math.prod(shape[:axis]), slopes, math.prod(shape[axis + 1 :])


def channels_last(x, weight, axis):
    """Whether x lies as (B *S C) and its slopes, if more than one, are those of C."""
    return channels_behind(x) and (weight.numel() == 1 or axis % x.ndim == 1)


def run(x, dy, weight, axis, needs):
    """(y, None), or (dx, dweight) of dy, as x is laid out."""
    if behind := channels_last(x, weight, axis):
        x, dy, axis = x.movedim(1, -1), None if dy is None else dy.movedim(1, -1), -1
    dtype = x.dtype
    x, dy, weight = readable(x, dtype), readable(dy, dtype), readable(weight, arithmetic(dtype))
    out = torch.empty_like(x) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[1] else None
    shape = sizes(x.shape, weight.numel(), axis)
    _call.run("prelu", dtype, (x, dy, weight, out, dweight), shape)
    return out.movedim(-1, 1) if behind and needs[0] else out, dweight


def forward(x, weight, *, axis):
    return run(x, None, weight, axis, (True, False))[0], ()


def backward(dy, arrays, residuals, needs, *, axis):
    x, weight = arrays
    return run(x, dy, weight, axis, needs)
