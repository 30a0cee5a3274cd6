"""rms_norm for JAX. Maths, shapes and source: bpx/layers/rms_norm.py."""

import jax.numpy as jnp

from bpx.layers.rms_norm import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32, inverse_root
from bpx_jax._rule import Rule


def rowwise(v, x, dtype):
    """A vector over D beside x (*N D), in the accumulation dtype."""
    return v.astype(dtype).reshape((1,) * (x.ndim - 1) + v.shape)


def forward(x, weight, *, eps):
    xf = at_least_float32(x)
    rstd = inverse_root(jnp.square(xf).mean(-1, keepdims=True) + eps)
    y = xf * rstd
    y = y if weight is None else y * rowwise(weight, x, y.dtype)
    return y.astype(x.dtype), (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    # With g = dy * weight and xhat = x * rstd:
    #   dx = rstd * (g - xhat * mean(g * xhat)),  dweight = sum(dy * xhat) over the rows
    # xhat * mean(g * xhat) is the path through rstd.
    x, weight = arrays
    (rstd,) = residuals
    dy = dy.astype(rstd.dtype)
    xhat = x.astype(rstd.dtype) * rstd

    g = dy if weight is None else dy * rowwise(weight, x, dy.dtype)
    dx = rstd * (g - xhat * (g * xhat).mean(-1, keepdims=True))
    dweight = (dy * xhat).sum(tuple(range(x.ndim - 1))) if needs[1] else None
    return dx.astype(x.dtype), dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.rms_norm"),
        Kernel.lazy("pallas", "bpx_jax.kernels.pallas.rms_norm"),
        Kernel("plain", forward, backward),
    ),
)


def rms_norm(x, weight=None, *, eps=1e-6):
    """Root-mean-square normalisation of x (*N D) over D; weight (D). Maths:
    bpx/layers/rms_norm.py."""
    return RULE(x, weight, eps=eps)
