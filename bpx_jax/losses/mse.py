"""mse for JAX. Maths, shapes and source: bpx/losses/mse.py."""

import jax.numpy as jnp

from bpx.losses.mse import SPEC
from bpx_jax.losses._difference import difference

# f = factor e^2,  f' = 2 factor e
RULE = difference(
    SPEC,
    lambda e, *, factor: factor * jnp.square(e),
    lambda e, *, factor: 2 * factor * e,
)


def mse(x, target, *, reduction="mean", factor=1.0):
    """factor * (x - target)^2, reduced. x, target (*N). Maths: bpx/losses/mse.py."""
    return RULE(x, target, reduction=reduction, factor=factor)


def half_squares(x, target):
    """Half the sum of squares of x - target: mse with reduction "sum" and factor 0.5."""
    return RULE(x, target, reduction="sum", factor=0.5)
