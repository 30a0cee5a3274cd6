"""instance_norm for PyTorch. Maths, shapes and source: bpx/layers/instance_norm.py."""

from bpx.layers.instance_norm import SPEC
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


def places(x):
    """The axes of one channel of one sample."""
    return tuple(range(2, x.ndim))


def beside(v, x):
    """A statistic (B C) beside x (B C *S)."""
    return v.reshape(v.shape + (1,) * (x.ndim - 2))


def forward(x, weight, bias, *, eps):
    xf = at_least_float32(x)
    mean, var = statistics(xf, places(x))
    rstd = inverse_root(var + eps)
    y = scaled((xf - mean) * rstd, weight, bias).to(x.dtype)
    return y, tuple(s.reshape(x.shape[:2]) for s in (mean, rstd, var))


def backward(dy, arrays, residuals, needs, *, eps):
    # With g = dy * weight and xhat = (x - mean) * rstd:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))      over each channel of each sample
    #   dweight = sum(dy * xhat),  dbias = sum(dy)             over all but channels
    x, weight, _ = arrays
    mean, rstd, _ = residuals
    dy, rstd = dy.to(mean.dtype), beside(rstd, x)
    xhat = (x.to(mean.dtype) - beside(mean, x)) * rstd
    rest = (0, *places(x))

    dx = dweight = dbias = None
    if needs[0]:
        g = dy if weight is None else dy * channelwise(weight, dy)
        dx = through(g, xhat, rstd, places(x)).to(x.dtype)
    if needs[1]:
        dweight = (dy * xhat).sum(rest)
    if needs[2]:
        dbias = dy.sum(rest)
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals, *, eps):
    # dxhat = rstd * (dx - mean(dx) - xhat * mean(dx * xhat))  over each channel of each sample
    # dy = dxhat * weight + xhat * dweight + dbias
    x, weight, _ = arrays
    mean, rstd, _ = residuals
    tx, tweight, tbias = tangents
    rstd = beside(rstd, x)
    xhat = (x.to(mean.dtype) - beside(mean, x)) * rstd
    txhat = None if tx is None else through(tx.to(mean.dtype), xhat, rstd, places(x))
    return scaled_tangent(txhat, xhat, weight, tweight, tbias).to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.instance_norm"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.instance_norm"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def instance_norm(x, weight=None, bias=None, *, eps=1e-5):
    """Instance normalisation of x (B C *S) over *S; weight and bias (C). Maths:
    bpx/layers/instance_norm.py."""
    return RULE(x, weight, bias, eps=eps)
