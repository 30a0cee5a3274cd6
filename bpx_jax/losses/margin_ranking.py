"""margin_ranking for JAX. Maths, shapes and source: bpx/losses/margin_ranking.py."""

import jax.numpy as jnp

from bpx.losses.margin_ranking import SPEC
from bpx_jax.losses._terms import terms


def lack(x1, x2, target, margin):
    return margin - target * (x1 - x2)


def value(x1, x2, target, *, margin):
    return jnp.maximum(lack(x1, x2, target, margin), 0)


def dx1(x1, x2, target, *, margin):
    # -target where the margin is not kept
    return jnp.where(lack(x1, x2, target, margin) >= 0, -target, 0.0)


def dx2(x1, x2, target, *, margin):
    # target there
    return jnp.where(lack(x1, x2, target, margin) >= 0, target, 0.0)


def dtarget(x1, x2, target, *, margin):
    # x2 - x1 there
    return jnp.where(lack(x1, x2, target, margin) >= 0, x2 - x1, 0.0)


RULE = terms(SPEC, value, (dx1, dx2, dtarget))


def margin_ranking(x1, x2, target, *, margin=0.0, reduction="mean"):
    """max(margin - target * (x1 - x2), 0); x1, x2, target (*N). Maths:
    bpx/losses/margin_ranking.py."""
    return RULE(x1, x2, target, margin=margin, reduction=reduction)
