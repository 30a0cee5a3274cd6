"""group_norm and instance_norm for torch on the CPU: the native core by pointer.

`groups` sets of channels in each sample of x (B C *S) have a mean. The kernel reads the channels
before the places; where they lie behind (channels_last), x is copied and the result laid out as x.
"""

import torch

from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def forward(x, weight, bias, groups, eps, *, variance):
    """(y, statistics (B groups)): mean, rstd and, where asked for, the variance."""
    dtype, statistic, behind = x.dtype, arithmetic(x.dtype), channels_behind(x)
    x, weight, bias = readable(x, dtype), readable(weight, statistic), readable(bias, statistic)
    y = torch.empty_like(x)
    mean = x.new_empty((x.shape[0], groups), dtype=statistic)
    found = [mean, torch.empty_like(mean), torch.empty_like(mean) if variance else None]
    given = (x, weight, bias, None, None, y, *found)
    _call.run("standardize_forward", dtype, given, (*sizes(x), groups), (eps,))
    return put_behind(y) if behind else y, tuple(found if variance else found[:2])


def backward(dy, x, weight, mean, rstd, needs, groups):
    dtype, statistic, behind = x.dtype, arithmetic(x.dtype), channels_behind(x)
    x, dy, weight = readable(x, dtype), readable(dy, dtype), readable(weight, statistic)
    mean, rstd = readable(mean, statistic), readable(rstd, statistic)
    dx = torch.empty_like(x) if needs[0] else None
    dweight = mean.new_empty(x.shape[1]) if needs[1] else None
    dbias = mean.new_empty(x.shape[1]) if needs[2] else None
    given = (dy, x, weight, mean, rstd, dx, dweight, dbias, None, None)
    _call.run("standardize_backward", dtype, given, (*sizes(x), groups, 0), (0.0,))
    return put_behind(dx) if behind and needs[0] else dx, dweight, dbias


def sizes(x):
    """B, C and the number of places of x (B C *S)."""
    batch, channels = x.shape[:2]
    return batch, channels, x.numel() // (batch * channels)
