"""batch_norm for torch on the CPU, on torch's own threads, in the layout of x: channels before the
places, or behind them (x of two dims, channels_last). Maths, shapes and source:
bpx/layers/batch_norm.py."""

import torch

from bpx_torch._running import nothing
from bpx_torch.kernels._layout import channels_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable
from bpx_torch.kernels.cpu._standardize import sizes


def refuses(arrays, dims):
    return _call.refuses(arrays)


def like(a, x, rows):
    """`a` as the kernel reads it: laid out as x is, where `rows` with the channels behind."""
    if not rows or x.ndim == 2:
        return readable(a, x.dtype)
    return readable(a.movedim(1, -1), x.dtype).movedim(-1, 1)


def forward(x, weight, bias, running_mean, running_var, *, training, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    rows = x.ndim == 2 or channels_behind(x)
    x = like(x, x, rows)
    weight, bias = readable(weight, statistic), readable(bias, statistic)
    running_mean, running_var = readable(running_mean, statistic), readable(running_var, statistic)
    y = torch.empty_like(x)
    mean = x.new_empty(x.shape[1], dtype=statistic)
    rstd, var = torch.empty_like(mean), torch.empty_like(mean)
    given = (x, weight, bias, running_mean, running_var, y, mean, rstd, var)
    if rows:
        shape = (x.numel() // x.shape[1], x.shape[1])
        _call.run("batch_norm_rows_forward", dtype, given, shape, (eps,))
    else:
        _call.run("standardize_forward", dtype, given, (*sizes(x), 0), (eps,))
    return y, (mean, rstd, var) if training else nothing(rstd)


def backward(dy, arrays, residuals, needs, *, training, eps):
    x, weight, *_ = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    rows = x.ndim == 2 or channels_behind(x)
    x, dy, weight = like(x, x, rows), like(dy, x, rows), readable(weight, statistic)
    # of running statistics the variance, whose root the kernel takes
    read = residuals[:2] if training else arrays[3:]
    mean, rstd = (readable(s, statistic) for s in read)
    dx = torch.empty_like(x) if needs[0] else None
    made = [torch.empty_like(mean) if need else None for need in needs[1:]]
    given = (dy, x, weight, mean, rstd, dx, *made)
    if rows:
        shape = (x.numel() // x.shape[1], x.shape[1], not training)
        _call.run("batch_norm_rows_backward", dtype, given, shape, (eps,))
    else:
        _call.run("standardize_backward", dtype, given, (*sizes(x), 0, not training), (eps,))
    return dx, *made
