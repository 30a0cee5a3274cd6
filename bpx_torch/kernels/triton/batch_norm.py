"""batch_norm for torch on a GPU, in Triton, in the layout of x: channels before the places, or
behind them (x of two dims, channels_last). Maths, shapes and source: bpx/layers/batch_norm.py."""

import torch

from bpx_torch._dtype import inverse_root
from bpx_torch._running import kept, nothing
from bpx_torch.kernels import _opaque
from bpx_torch.kernels._layout import channels_behind
from bpx_torch.kernels.triton._standardize import Lines, refuses, vectors

__all__ = ["backward", "forward", "refuses"]


def laid_out(a, rows):
    """`a` with the channels behind where x has them there, else before the places."""
    if not rows or a.ndim == 2:
        return _opaque.readable(a)
    return _opaque.readable(a.movedim(1, -1)).movedim(-1, 1)


def forward(x, weight, bias, running_mean, running_var, *, training, eps):
    rows = x.ndim == 2 or channels_behind(x)
    lines = Lines(laid_out(x, rows), None, rows)
    weight, bias = vectors(weight, bias)
    if training:
        mean, rstd, var = lines.moments(eps)
    else:
        mean, var = (_opaque.readable(s.to(lines.statistic)) for s in (running_mean, running_var))
        rstd = inverse_root(var + eps)
    y = lines.scaled(weight, bias, mean, rstd)
    return y, (mean, rstd, var) if training else nothing(rstd)


def backward(dy, arrays, residuals, needs, *, training, eps):
    x, weight, *_ = arrays
    rows = x.ndim == 2 or channels_behind(x)
    lines = Lines(laid_out(x, rows), None, rows)
    dy = laid_out(dy.to(x.dtype), rows)
    (weight,) = vectors(weight)
    mean, rstd = map(_opaque.readable, kept(arrays, residuals, training, eps))
    dx = dweight = dbias = drunning_mean = drunning_var = None
    if training or any(needs[1:]):
        (dbias, dweight), means = lines.totals(lines.sums(dy, mean, rstd), weight)
    if needs[3] or needs[4]:
        wide = 1 if weight is None else weight.to(mean.dtype)
        drunning_mean = -rstd * wide * dbias
        drunning_var = -0.5 * rstd.square() * wide * dweight
    if needs[0]:
        if not training:  # no path leads through the statistics
            means = torch.zeros_like(mean), torch.zeros_like(mean)
        dx = lines.through(dy, weight, mean, rstd, *means)
    made = (dx, dweight, dbias, drunning_mean, drunning_var)
    return tuple(m if need else None for m, need in zip(made, needs, strict=True))
