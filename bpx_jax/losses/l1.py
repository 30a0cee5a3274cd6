"""l1 for JAX. Maths, shapes and source: bpx/losses/l1.py."""

import jax.numpy as jnp

from bpx.losses.l1 import SPEC
from bpx_jax.losses._difference import difference


def keep(e):
    # a byte for the sign: -1, 0 or 1, and 2 for NaN
    return jnp.where(jnp.isnan(e), 2, jnp.sign(e)).astype(jnp.int8)


def df(sign):
    # f' = sign(e), 0 at 0
    return jnp.where(sign == 2, jnp.nan, sign)


RULE = difference(SPEC, jnp.abs, df, keep)


def l1(x, target, *, reduction="mean"):
    """|x - target|, reduced. x, target (*N). Maths: bpx/losses/l1.py."""
    return RULE(x, target, reduction=reduction)
