"""layer_norm for JAX. Maths, shapes and source: bpx/layers/layer_norm.py."""

import jax.numpy as jnp

from bpx.layers.layer_norm import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32, inverse_root
from bpx_jax._rule import Rule


def rowwise(v, x, dtype):
    """A vector over D beside x (*N D), in the accumulation dtype."""
    return v.astype(dtype).reshape((1,) * (x.ndim - 1) + v.shape)


def forward(x, weight, bias, *, eps):
    xf = at_least_float32(x)
    mu = xf.mean(-1, keepdims=True)
    xc = xf - mu
    rstd = inverse_root(jnp.square(xc).mean(-1, keepdims=True) + eps)
    y = xc * rstd
    y = y if weight is None else y * rowwise(weight, x, y.dtype)
    y = y if bias is None else y + rowwise(bias, x, y.dtype)
    return y.astype(x.dtype), (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    # With g = dy * weight and xhat = (x - mu) * rstd:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
    #   dweight = sum(dy * xhat),  dbias = sum(dy)              over the rows
    # mean(g) is the path through mu, xhat * mean(g * xhat) the path through rstd.
    x, weight, _ = arrays
    mu, rstd = residuals
    dy = dy.astype(mu.dtype)
    xhat = (x.astype(mu.dtype) - mu) * rstd
    rows = tuple(range(x.ndim - 1))

    g = dy if weight is None else dy * rowwise(weight, x, dy.dtype)
    dx = rstd * (g - g.mean(-1, keepdims=True) - xhat * (g * xhat).mean(-1, keepdims=True))
    dweight = (dy * xhat).sum(rows) if needs[1] else None
    dbias = dy.sum(rows) if needs[2] else None
    return dx.astype(x.dtype), dweight, dbias


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.layer_norm"),
        Kernel.lazy("pallas", "bpx_jax.kernels.pallas.layer_norm"),
        Kernel("plain", forward, backward),
    ),
)


def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """Layer normalisation of x (*N D) over D; weight and bias (D). Maths:
    bpx/layers/layer_norm.py."""
    return RULE(x, weight, bias, eps=eps)
