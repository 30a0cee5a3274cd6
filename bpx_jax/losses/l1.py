"""l1 for JAX. Maths, shapes and source: bpx/losses/l1.py."""

import jax.numpy as jnp

from bpx.losses.l1 import SPEC
from bpx_jax.losses._difference import difference

# f = |e|,  f' = sign(e), 0 at 0 and at NaN
RULE = difference(
    SPEC,
    jnp.abs,
    lambda sign: sign,
    lambda e: (e > 0).astype(jnp.int8) - (e < 0).astype(jnp.int8),
)


def l1(x, target, *, reduction="mean"):
    """|x - target|, reduced. x, target (*N). Maths: bpx/losses/l1.py."""
    return RULE(x, target, reduction=reduction)
