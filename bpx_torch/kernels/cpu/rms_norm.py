"""rms_norm for torch on the CPU: the native core by pointer, on torch's own threads.

Maths, shapes and source: bpx/layers/rms_norm.py.
"""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def forward(x, weight, *, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    x, weight = readable(x, dtype), readable(weight, statistic)
    y = torch.empty_like(x)
    rstd = x.new_empty((*x.shape[:-1], 1), dtype=statistic)
    sizes = (rstd.numel(), x.shape[-1])
    _call.run("rms_norm_forward", dtype, (x, weight, y, rstd), sizes, (eps,))
    return y, (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    x, dy, weight = readable(x, dtype), readable(dy, dtype), readable(weight, statistic)
    rstd = readable(residuals[0], statistic)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = rstd.new_empty(x.shape[-1]) if needs[1] else None
    given = (dy, x, weight, rstd, dx, dweight)
    _call.run("rms_norm_backward", dtype, given, (rstd.numel(), x.shape[-1]))
    return dx, dweight
