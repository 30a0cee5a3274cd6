"""softmax for torch on the CPU, and what log_softmax shares with it: the native core by pointer.

Maths, shapes and source: bpx/layers/softmax.py.
"""

import math

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def sizes(shape, dim, logarithm):
    """(outer, axis, inner, whether the logarithm is wanted)."""
    if dim in (-1, len(shape) - 1):
        return math.prod(shape[:-1]), shape[-1], 1, logarithm
    dim %= len(shape)
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]), logarithm


def forward(x, *, dim, logarithm=0):
    x = readable(x, x.dtype)
    y = torch.empty_like(x)
    _call.run("softmax_forward", x.dtype, (x, y), sizes(x.shape, dim, logarithm))
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim, logarithm=0):
    dtype = residuals[0].dtype
    y, dy = readable(residuals[0], dtype), readable(dy, dtype)
    dx = torch.empty_like(y)
    _call.run("softmax_backward", dtype, (dy, y, dx), sizes(y.shape, dim, logarithm))
    return (dx,)
