"""bilinear for JAX. Maths, shapes and source: bpx/layers/bilinear.py."""

import jax.numpy as jnp

from bpx.layers.bilinear import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def pairs(x1, x2):
    """x1_i x2_j of each row. einsum would choose an order for three factors, and not this one."""
    return x1[..., :, None] * x2[..., None, :]


def forward(x1, x2, weight, bias):
    w1, w2, w = map(at_least_float32, (x1, x2, weight))
    y = jnp.einsum("...ij,oij->...o", pairs(w1, w2), w)
    if bias is not None:
        y = y + bias.astype(y.dtype).reshape((1,) * (y.ndim - 1) + bias.shape)
    return y.astype(x1.dtype), ()


def backward(dy, arrays, residuals, needs):
    # With u_ij = sum_o dy_o weight_oij of each row:
    #   dx1_i = sum_j u_ij x2_j,  dx2_j = sum_i u_ij x1_i
    #   dweight_oij = sum over the rows of dy_o x1_i x2_j,  dbias = sum(dy) over the rows
    x1, x2, weight = map(at_least_float32, arrays[:3])
    dy = at_least_float32(dy)
    u = jnp.einsum("...o,oij->...ij", dy, weight)
    dx1 = jnp.einsum("...ij,...j->...i", u, x2)
    dx2 = jnp.einsum("...ij,...i->...j", u, x1)
    dweight = jnp.einsum("...o,...ij->oij", dy, pairs(x1, x2))
    dbias = dy.sum(tuple(range(dy.ndim - 1))) if needs[3] else None
    return dx1, dx2, dweight, dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def bilinear(x1, x2, weight, bias=None):
    """sum_ij x1_i x2_j weight_oij + bias_o; x1 (*N I), x2 (*N J), weight (O I J), bias (O). Maths:
    bpx/layers/bilinear.py."""
    return RULE(x1, x2, weight, bias)
