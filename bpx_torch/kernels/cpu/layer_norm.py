"""layer_norm for torch on the CPU: the native core by pointer, on torch's own threads.

Each row is read from memory once; the passes that the plain rule makes over memory happen in cache.
Maths, shapes and source: bpx/layers/layer_norm.py.
"""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def forward(x, weight, bias, *, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    x, weight, bias = readable(x, dtype), readable(weight, statistic), readable(bias, statistic)
    y = torch.empty_like(x)
    mu = x.new_empty((*x.shape[:-1], 1), dtype=statistic)
    rstd = torch.empty_like(mu)
    sizes = (mu.numel(), x.shape[-1])
    _call.run("layer_norm_forward", dtype, (x, weight, bias, y, mu, rstd), sizes, (eps,))
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    x, dy, weight = readable(x, dtype), readable(dy, dtype), readable(weight, statistic)
    mu, rstd = readable(residuals[0], statistic), readable(residuals[1], statistic)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = mu.new_empty(x.shape[-1]) if needs[1] else None
    dbias = mu.new_empty(x.shape[-1]) if needs[2] else None
    given = (dy, x, weight, mu, rstd, dx, dweight, dbias)
    _call.run("layer_norm_backward", dtype, given, (mu.numel(), x.shape[-1]))
    return dx, dweight, dbias
