"""affine for torch on the CPU, on torch's own threads. Maths, shapes: bpx/layers/affine.py."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def forward(x, weight, bias):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    x, weight, bias = readable(x, dtype), readable(weight, statistic), readable(bias, statistic)
    y = torch.empty_like(x)
    _call.run("affine", dtype, (x, None, weight, bias, y, None, None), (x.numel(),))
    return y, ()


def backward(dy, arrays, residuals, needs):
    x, weight, _ = arrays
    dtype = x.dtype
    x, dy, weight = readable(x, dtype), readable(dy, dtype), readable(weight, arithmetic(dtype))
    dx = torch.empty_like(x) if needs[0] else None
    dweight = torch.empty_like(weight) if needs[1] else None
    dbias = torch.empty_like(weight) if needs[2] else None
    _call.run("affine", dtype, (x, dy, weight, None, dx, dweight, dbias), (x.numel(),))
    return dx, dweight, dbias
