"""reversible for JAX. Maths, shapes and source: bpx/layers/reversible.py."""

import jax.numpy as jnp

from bpx.layers.reversible import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def branch(v, w):
    return jnp.tanh(v @ w.astype(v.dtype).T)


def forward(x, w_f, w_g):
    x1, x2 = jnp.split(at_least_float32(x), 2, -1)
    y1 = x1 + branch(x2, w_f)
    y = jnp.concatenate([y1, x2 + branch(y1, w_g)], -1).astype(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs):
    # By inversion: g = tanh(y1 w_g^T),  x2 = y2 - g,  f = tanh(x2 w_f^T). Then
    #   dx1 = dy1 + db w_g,  dx2 = dy2 + da w_f,  dw_g = sum(db^T y1),  dw_f = sum(da^T x2)
    #   db = dy2 (1 - g^2),  da = dx1 (1 - f^2)
    _, w_f, w_g = arrays
    y1, y2 = jnp.split(at_least_float32(residuals[0]), 2, -1)
    dy1, dy2 = jnp.split(dy.astype(y1.dtype), 2, -1)
    g = branch(y1, w_g)
    x2 = y2 - g
    db = dy2 * (1 - jnp.square(g))
    dx1 = dy1 + db @ w_g.astype(db.dtype)
    da = dx1 * (1 - jnp.square(branch(x2, w_f)))
    dx = jnp.concatenate([dx1, dy2 + da @ w_f.astype(da.dtype)], -1)
    return dx, over_rows(da, x2), over_rows(db, y1)


def over_rows(da, v):
    return da.reshape(-1, da.shape[-1]).T @ v.reshape(-1, v.shape[-1])


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def reversible(x, w_f, w_g):
    """A reversible block over the halves of x (*N W), with branches tanh(v w^T), w_f and w_g (D D),
    W = 2 D; x is not kept. Maths: bpx/layers/reversible.py."""
    return RULE(x, w_f, w_g)
