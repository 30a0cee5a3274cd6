"""l1 for JAX. Maths, shapes and source: bpx/losses/l1.py."""

import jax.numpy as jnp

from bpx.losses.l1 import SPEC
from bpx_jax.losses._difference import difference

# f = |e|,  f' = sign(e), 0 at 0
RULE = difference(SPEC, jnp.abs, jnp.sign)


def l1(x, target, *, reduction="mean"):
    """|x - target|, reduced. x, target (*N). Maths: bpx/losses/l1.py."""
    return RULE(x, target, reduction=reduction)
