"""cosine_similarity for JAX. Maths, shapes and source: bpx/layers/cosine_similarity.py."""

import jax
import jax.numpy as jnp

from bpx.layers.cosine_similarity import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def directions(x, eps):
    """(x / max(|x|, eps), 1 / max(|x|, eps), whether |x| > eps)."""
    square = jnp.square(x).sum(-1, keepdims=True)
    over = square > eps * eps
    # the square of the others is kept from the root, whose slope at 0 is infinite
    root = jax.lax.rsqrt(jnp.where(over, square, 1.0))
    inverse = jnp.where(over, root, 1 / eps if eps else jnp.inf)
    return x * inverse, inverse, over


def forward(x1, x2, *, eps):
    u1, _, _ = directions(at_least_float32(x1), eps)
    u2, _, _ = directions(at_least_float32(x2), eps)
    return (u1 * u2).sum(-1).astype(x1.dtype), ()


def backward(dy, arrays, residuals, needs, *, eps):
    # dx1 = dy / n1 (u2 - [r1 > eps] y u1): the other's direction, less its part along the own;
    # dx2 the same with 1 and 2 exchanged
    (u1, i1, over1), (u2, i2, over2) = (directions(at_least_float32(a), eps) for a in arrays)
    dy = at_least_float32(dy)[..., None]
    y = (u1 * u2).sum(-1, keepdims=True)
    dx1 = dy * i1 * (u2 - jnp.where(over1, y, 0.0) * u1)
    dx2 = dy * i2 * (u1 - jnp.where(over2, y, 0.0) * u2)
    return dx1, dx2


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.cosine_similarity"),
        Kernel("plain", forward, backward),
    ),
)


def cosine_similarity(x1, x2, *, eps=1e-8):
    """Cosine between x1 and x2 (*N D), (*N); lengths below eps count as eps. Maths:
    bpx/layers/cosine_similarity.py."""
    return RULE(x1, x2, eps=eps)
