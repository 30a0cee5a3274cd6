"""group_norm for PyTorch. Maths, shapes and source: bpx/layers/group_norm.py."""

from bpx.layers.group_norm import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, inverse_root
from bpx_torch._rule import Rule
from bpx_torch.layers._standardize import (
    channelwise,
    scaled,
    scaled_tangent,
    statistics,
    through,
)


def grouped(x, num_groups):
    """x (B C *S) as (B, G, C / G, *S), and the axes of one group; a view in any memory format."""
    each = x.shape[1] // num_groups
    return x.unflatten(1, (num_groups, each)), tuple(range(2, x.ndim + 1))


def beside(v, xg):
    """A statistic (B G) beside the groups."""
    return v.reshape(v.shape + (1,) * (xg.ndim - 2))


def forward(x, weight, bias, *, num_groups, eps):
    xg, axes = grouped(at_least_float32(x), num_groups)
    mean, var = statistics(xg, axes)
    rstd = inverse_root(var + eps)
    xhat = ((xg - mean) * rstd).flatten(1, 2)
    y = scaled(xhat, weight, bias).to(x.dtype)
    return y, (mean.reshape(mean.shape[:2]), rstd.reshape(rstd.shape[:2]))


def backward(dy, arrays, residuals, needs, *, num_groups, eps):
    # With g = dy * weight and xhat = (x - mean) * rstd:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))              over each group
    #   dweight = sum(dy * xhat),  dbias = sum(dy)                     over all but channels
    x, weight, _ = arrays
    mean, rstd = residuals
    dy = dy.to(mean.dtype)
    xg, axes = grouped(x.to(mean.dtype), num_groups)
    xhat = (xg - beside(mean, xg)) * beside(rstd, xg)
    rest = (0, *range(2, x.ndim))

    dx = dweight = dbias = None
    if needs[0]:
        g, _ = grouped(dy if weight is None else dy * channelwise(weight, dy), num_groups)
        dx = through(g, xhat, beside(rstd, xg), axes).flatten(1, 2).to(x.dtype)
    if needs[1]:
        dweight = (dy * xhat.flatten(1, 2)).sum(rest)
    if needs[2]:
        dbias = dy.sum(rest)
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals, *, num_groups, eps):
    # dxhat = rstd * (dx - mean(dx) - xhat * mean(dx * xhat))        over each group
    # dy = dxhat * weight + xhat * dweight + dbias
    x, weight, _ = arrays
    mean, rstd = residuals
    tx, tweight, tbias = tangents
    xg, axes = grouped(x.to(mean.dtype), num_groups)
    xhat = (xg - beside(mean, xg)) * beside(rstd, xg)
    if tx is not None:
        tg, _ = grouped(tx.to(mean.dtype), num_groups)
        tx = through(tg, xhat, beside(rstd, xg), axes).flatten(1, 2)
    return scaled_tangent(tx, xhat.flatten(1, 2), weight, tweight, tbias).to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.group_norm"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.group_norm"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def group_norm(x, weight=None, bias=None, *, num_groups=32, eps=1e-5):
    """Group normalisation of x (B C *S) over groups of channels; weight and bias (C). Maths:
    bpx/layers/group_norm.py."""
    return RULE(x, weight, bias, num_groups=num_groups, eps=eps)
