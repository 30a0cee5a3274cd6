"""smooth_l1 for JAX. Maths, shapes and source: bpx/losses/smooth_l1.py."""

import jax.numpy as jnp

from bpx.losses.smooth_l1 import SPEC
from bpx_jax.losses._difference import difference


def f(e, *, beta):
    size = jnp.abs(e)
    if beta == 0:
        return size
    return jnp.where(size < beta, jnp.square(e) * (0.5 / beta), size - 0.5 * beta)


def df(e, *, beta):
    # f' = e / beta inside, sign(e) outside
    if beta == 0:
        return jnp.where(jnp.isnan(e), 0.0, jnp.sign(e))
    return jnp.where(jnp.abs(e) >= beta, jnp.sign(e), e / beta)


def trim(e, *arrays, reduction, beta):
    # with beta = 0 backward reads the sign alone, 0 for NaN
    return e if beta else (e > 0).astype(jnp.int8) - (e < 0).astype(jnp.int8)


RULE = difference(SPEC, f, df, trim={"error": trim})


def smooth_l1(x, target, *, reduction="mean", beta=1.0):
    """Smooth L1 loss of x - target, reduced. x, target (*N). Maths: bpx/losses/smooth_l1.py."""
    return RULE(x, target, reduction=reduction, beta=beta)
