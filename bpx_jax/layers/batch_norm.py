"""batch_norm for JAX. Maths, shapes and source: bpx/layers/batch_norm.py."""

import jax.numpy as jnp

from bpx.layers.batch_norm import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32, inverse_root
from bpx_jax._rule import Rule
from bpx_jax._running import kept, nothing
from bpx_jax.layers._standardize import channelwise, scaled, statistics, through


def rest(x):
    """All axes but the channels."""
    return (0, *range(2, x.ndim))


def forward(x, weight, bias, running_mean, running_var, *, training, eps):
    xf = at_least_float32(x)
    if training:
        mean, var = (s.reshape(x.shape[1]) for s in statistics(xf, rest(x)))
    else:
        mean, var = running_mean.astype(xf.dtype), running_var.astype(xf.dtype)
    rstd = inverse_root(var + eps)
    xhat = (xf - channelwise(mean, xf)) * channelwise(rstd, xf)
    y = scaled(xhat, weight, bias).astype(x.dtype)
    return y, (mean, rstd, var) if training else nothing(rstd)


def backward(dy, arrays, residuals, needs, *, training, eps):
    # With g = dy * weight and xhat = (x - mean) * rstd, sums and means over all but channels:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))             training
    #   dx = rstd * g                                                 inference
    #   dweight = sum(dy * xhat),  dbias = sum(dy)
    #   drunning_mean = -rstd * sum(g),  drunning_var = -rstd^2 / 2 * sum(g * xhat)
    x, weight, *_ = arrays
    mean, rstd = kept(arrays, residuals, training, eps)
    dy, axes = dy.astype(mean.dtype), rest(x)
    beside = channelwise(rstd, dy)
    xhat = (x.astype(mean.dtype) - channelwise(mean, dy)) * beside
    g = dy if weight is None else dy * channelwise(weight, dy)

    dx = (through(g, xhat, beside, axes) if training else beside * g).astype(x.dtype)
    dweight = (dy * xhat).sum(axes) if needs[1] else None
    dbias = dy.sum(axes) if needs[2] else None
    drunning_mean = -rstd * g.sum(axes) if needs[3] else None
    drunning_var = -0.5 * jnp.square(rstd) * (g * xhat).sum(axes) if needs[4] else None
    return dx, dweight, dbias, drunning_mean, drunning_var


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.batch_norm"),
        Kernel("plain", forward, backward),
    ),
)


def batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, eps=1e-5
):
    """Batch normalisation of x (B C *S) by the batch where `training`, else by running_mean and
    running_var; all vectors (C). Updates nothing. Maths: bpx/layers/batch_norm.py."""
    return RULE(x, weight, bias, running_mean, running_var, training=training, eps=eps)
