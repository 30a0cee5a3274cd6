"""linear for JAX. Maths, shapes and source: bpx/layers/linear.py."""

import jax

from bpx.layers.linear import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def forward(x, weight, bias):
    y = jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
    return (y if bias is None else y + bias.reshape((1,) * (x.ndim - 1) + bias.shape)), ()


def backward(dy, arrays, residuals, needs):
    # dx = dy weight,  dweight = dy^T x,  dbias = sum(dy), the last two over the rows
    x, weight, _ = arrays
    rows = tuple(range(x.ndim - 1))
    # A gradient lies as its array does, which a mesh with explicit axes must be told
    placed = jax.typeof(x).sharding, jax.typeof(weight).sharding
    over_out, over_rows = (((x.ndim - 1,), (0,)), ((), ())), ((rows, rows), ((), ()))
    dx = jax.lax.dot_general(dy, weight, over_out, out_sharding=placed[0])
    dweight = jax.lax.dot_general(dy, x, over_rows, out_sharding=placed[1])
    dbias = at_least_float32(dy).sum(rows) if needs[2] else None
    return dx, dweight, dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def linear(x, weight, bias=None):
    """x weight^T + bias; x (*N I), weight (O I), bias (O). Maths: bpx/layers/linear.py."""
    return RULE(x, weight, bias)
