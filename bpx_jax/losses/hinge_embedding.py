"""hinge_embedding for JAX. Maths, shapes and source: bpx/losses/hinge_embedding.py."""

import jax.numpy as jnp

from bpx.losses.hinge_embedding import SPEC
from bpx_jax.losses._terms import terms


def value(x, target, *, margin):
    return 0.5 * ((1 + target) * x + (1 - target) * jnp.maximum(margin - x, 0))


def dx(x, target, *, margin):
    # (1 + target) / 2,  and -(1 - target) / 2 up to the margin
    return 0.5 * (1 + target - jnp.where(margin - x >= 0, 1 - target, 0.0))


def dtarget(x, target, *, margin):
    # (x - far) / 2
    return 0.5 * (x - jnp.maximum(margin - x, 0))


RULE = terms(SPEC, value, (dx, dtarget))


def hinge_embedding(x, target, *, margin=1.0, reduction="mean"):
    """The distance x (*N) where target (*N) is 1, max(margin - x, 0) where it is -1. Maths:
    bpx/losses/hinge_embedding.py."""
    return RULE(x, target, margin=margin, reduction=reduction)
