"""batch_norm for PyTorch. Maths, shapes and source: bpx/layers/batch_norm.py."""

from bpx.layers.batch_norm import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, inverse_root
from bpx_torch._rule import Rule
from bpx_torch._running import kept, nothing
from bpx_torch.layers._standardize import (
    channelwise,
    scaled,
    scaled_tangent,
    statistics,
    through,
)


def rest(x):
    """All axes but the channels."""
    return (0, *range(2, x.ndim))


def forward(x, weight, bias, running_mean, running_var, *, training, eps):
    xf = at_least_float32(x)
    if training:
        mean, var = (s.reshape(x.shape[1]) for s in statistics(xf, rest(x)))
    else:
        mean, var = running_mean.to(xf.dtype), running_var.to(xf.dtype)
    rstd = inverse_root(var + eps)
    xhat = (xf - channelwise(mean, xf)) * channelwise(rstd, xf)
    y = scaled(xhat, weight, bias).to(x.dtype)
    return y, (mean, rstd, var) if training else nothing(rstd)


def backward(dy, arrays, residuals, needs, *, training, eps):
    # With g = dy * weight and xhat = (x - mean) * rstd, sums and means over all but channels:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))             training
    #   dx = rstd * g                                                 inference
    #   dweight = sum(dy * xhat),  dbias = sum(dy)
    #   drunning_mean = -rstd * sum(g),  drunning_var = -rstd^2 / 2 * sum(g * xhat)
    x, weight, *_ = arrays
    mean, rstd = kept(arrays, residuals, training, eps)
    dy, axes = dy.to(mean.dtype), rest(x)
    beside = channelwise(rstd, dy)
    xhat = (x.to(mean.dtype) - channelwise(mean, dy)) * beside
    g = dy if weight is None else dy * channelwise(weight, dy)

    dx = dweight = dbias = drunning_mean = drunning_var = None
    if needs[0]:
        dx = (through(g, xhat, beside, axes) if training else beside * g).to(x.dtype)
    if needs[1]:
        dweight = (dy * xhat).sum(axes)
    if needs[2]:
        dbias = dy.sum(axes)
    if needs[3]:
        drunning_mean = -rstd * g.sum(axes)
    if needs[4]:
        drunning_var = -0.5 * rstd.square() * (g * xhat).sum(axes)
    return dx, dweight, dbias, drunning_mean, drunning_var


def tangent(tangents, arrays, residuals, *, training, eps):
    # dxhat = rstd * (dx - mean(dx) - xhat * mean(dx * xhat))                       training
    # dxhat = rstd * (dx - drunning_mean) - xhat * rstd^2 / 2 * drunning_var        inference
    # dy = dxhat * weight + xhat * dweight + dbias
    x, weight, *_ = arrays
    mean, rstd = kept(arrays, residuals, training, eps)
    tx, tweight, tbias, tmean, tvar = tangents
    xf = x.to(mean.dtype)
    beside = channelwise(rstd, xf)
    xhat = (xf - channelwise(mean, xf)) * beside
    parts = []
    if tx is not None:
        tx = tx.to(mean.dtype)
        parts.append(through(tx, xhat, beside, rest(x)) if training else beside * tx)
    if tmean is not None:
        parts.append((-beside * channelwise(tmean, xf)).expand(x.shape))
    if tvar is not None:
        parts.append(-0.5 * xhat * beside.square() * channelwise(tvar, xf))
    txhat = sum(parts) if parts else None
    return scaled_tangent(txhat, xhat, weight, tweight, tbias).to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.batch_norm"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.batch_norm"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, eps=1e-5
):
    """Batch normalisation of x (B C *S) by the batch where `training`, else by running_mean and
    running_var; all vectors (C). Updates nothing. Maths: bpx/layers/batch_norm.py."""
    return RULE(x, weight, bias, running_mean, running_var, training=training, eps=eps)
