"""deep_equilibrium for JAX. Maths, shapes and source: bpx/layers/deep_equilibrium.py.

Compiled also where the caller does not: an eager scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.layers.deep_equilibrium import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


@functools.partial(jax.jit, static_argnames="max_iter")
def equilibrium(x, w_zz, w_xz, bias, *, max_iter):
    wide = at_least_float32(x)
    b_x = wide @ w_xz.astype(wide.dtype).T
    if bias is not None:
        b_x = b_x + jnp.broadcast_to(bias.astype(b_x.dtype), b_x.shape)
    w = w_zz.astype(b_x.dtype).T

    def step(carry, _):
        z = carry[0]
        return (jnp.tanh(z @ w + b_x), z), None

    start = jnp.zeros_like(b_x)
    z, before = jax.lax.scan(step, (start, start), None, length=max_iter)[0]
    near = jnp.finfo(z.dtype).eps ** 0.5
    far, size = (jnp.abs(v).max(-1, keepdims=True, initial=0) for v in (z - before, z))
    return jnp.where(far <= near * (1 + size), z, jnp.nan).astype(x.dtype)


def forward(x, w_zz, w_xz, bias, *, max_iter):
    y = equilibrium(x, w_zz, w_xz, bias, max_iter=max_iter)
    return y, (y,)


@functools.partial(jax.jit, static_argnames=("needs", "max_iter"))
def backward(dy, arrays, residuals, needs, *, max_iter):
    # dz = dy + (dz * s) w_zz,  s = 1 - y^2       by its own iteration, as contracting as y's
    # da = dz * s,  dx = da w_xz,  dw_zz = sum(da^T y),  dw_xz = sum(da^T x),  dbias = sum(da)
    x, w_zz, w_xz, _ = arrays
    y = at_least_float32(residuals[0])
    slope, w, dy = 1 - jnp.square(y), w_zz.astype(y.dtype), dy.astype(y.dtype)
    dz = jax.lax.scan(lambda dz, _: (dy + (dz * slope) @ w, None), dy, None, length=max_iter)[0]
    da = dz * slope
    rows = da.reshape(-1, da.shape[-1])
    dw_xz = rows.T @ x.astype(da.dtype).reshape(len(rows), x.shape[-1])
    dbias = rows.sum(0) if needs[3] else None
    return da @ w_xz.astype(da.dtype), rows.T @ y.reshape(rows.shape), dw_xz, dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def deep_equilibrium(x, w_zz, w_xz, bias=None, *, max_iter=50):
    """The fixed point z (*N H) of z = tanh(z w_zz^T + x w_xz^T + bias) for x (*N I), w_zz (H H),
    w_xz (H I), bias (H); NaN where max_iter steps do not reach it. Maths:
    bpx/layers/deep_equilibrium.py."""
    return RULE(x, w_zz, w_xz, bias, max_iter=max_iter)
