"""Straight-through estimators for JAX. Maths, choices and source:
bpx/surrogate/straight_through.py."""

import jax.numpy as jnp

from bpx.surrogate import straight_through as spec
from bpx_jax._elementwise import row


def _step(x, threshold, low):
    return jnp.where(jnp.isnan(x), x, jnp.where(x >= threshold, 1.0, low))


def _passed(dy, nothing, **options):
    return dy


def _far(distance, clip):
    return jnp.abs(distance) > clip


def _near(dy, far, **options):
    return jnp.where(far, 0.0, dy)


STRAIGHT_THROUGH_SIGN = row(spec.straight_through_sign, lambda x: _step(x, 0.0, -1.0), _passed)
STRAIGHT_THROUGH_ROUND = row(spec.straight_through_round, jnp.round, _passed)
STRAIGHT_THROUGH_BINARIZE = row(
    spec.straight_through_binarize, lambda x, threshold: _step(x, threshold, 0.0), _passed
)
CLIPPED_STRAIGHT_THROUGH_SIGN = row(
    spec.clipped_straight_through_sign,
    lambda x, far, clip: _step(x, 0.0, -1.0),
    _near,
    mask=_far,
)
CLIPPED_STRAIGHT_THROUGH_ROUND = row(
    spec.clipped_straight_through_round,
    lambda x, far, clip: jnp.round(x),
    _near,
    mask=_far,
)
CLIPPED_STRAIGHT_THROUGH_BINARIZE = row(
    spec.clipped_straight_through_binarize,
    lambda x, far, threshold, clip: _step(x, threshold, 0.0),
    _near,
    mask=lambda x, threshold, clip: _far(x - threshold, clip),
)


def straight_through_sign(x):
    """1 where x (any shape) >= 0, -1 below; backward hands dy through."""
    return STRAIGHT_THROUGH_SIGN(x)


def straight_through_round(x):
    """x (any shape) to the nearest integer, halves to even; backward hands dy through."""
    return STRAIGHT_THROUGH_ROUND(x)


def straight_through_binarize(x, *, threshold=0.0):
    """1 where x (any shape) >= threshold, 0 below; backward hands dy through. The threshold is
    rounded to the dtype of x."""
    return STRAIGHT_THROUGH_BINARIZE(x, threshold=threshold)


def clipped_straight_through_sign(x, *, clip=1.0):
    """1 where x (any shape) >= 0, -1 below; backward hands dy through where |x| <= clip."""
    return CLIPPED_STRAIGHT_THROUGH_SIGN(x, clip=clip)


def clipped_straight_through_round(x, *, clip=1.0):
    """x (any shape) to the nearest integer, halves to even; backward hands dy through where
    |x| <= clip."""
    return CLIPPED_STRAIGHT_THROUGH_ROUND(x, clip=clip)


def clipped_straight_through_binarize(x, *, threshold=0.0, clip=1.0):
    """1 where x (any shape) >= threshold, 0 below; backward hands dy through where
    |x - threshold| <= clip. The threshold is rounded to the dtype of x."""
    return CLIPPED_STRAIGHT_THROUGH_BINARIZE(x, threshold=threshold, clip=clip)


RULES = {
    rule.spec.name: rule
    for rule in (
        STRAIGHT_THROUGH_SIGN,
        STRAIGHT_THROUGH_ROUND,
        STRAIGHT_THROUGH_BINARIZE,
        CLIPPED_STRAIGHT_THROUGH_SIGN,
        CLIPPED_STRAIGHT_THROUGH_ROUND,
        CLIPPED_STRAIGHT_THROUGH_BINARIZE,
    )
}
