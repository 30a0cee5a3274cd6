"""Algebraic relatives of softplus and sigmoid for JAX. Maths, choices and source:
bpx/activations/sparse.py."""

from math import sqrt

import jax.numpy as jnp

from bpx.activations import sparse as spec
from bpx_jax._elementwise import row


def _root(x, b):
    # hypot: x * x would overflow
    return jnp.hypot(x, jnp.full_like(x, sqrt(b)))


def _squareplus(x, b):
    root = _root(x, b)
    below = 0.25 * b / (0.5 * root - jnp.where(x < 0, 0.5 * x, 0.0))
    # b / 2 / (root + x) is (root - x) / 2; XLA would make (x + root) / 2, which overflows
    above = jnp.where(x < 0, 0.0, x)
    return jnp.where(x < 0, below, above + 0.5 * b / (root + above))


def _dsquareplus(dy, x, b):
    # (1 + x / r) / 2; below 0 it is b / (2 r (r - x)), without a difference
    root = _root(x, b)
    below = b / (2 * root) / (root - jnp.where(x < 0, x, 0.0))
    return dy * jnp.where(x < 0, below, 0.5 + 0.5 * (x / root))


SPARSE_PLUS = row(
    spec.sparse_plus,
    lambda x: jnp.where(x <= -1, 0.0, jnp.where(x >= 1, x, jnp.square(x + 1) / 4)),
    lambda dy, x: dy * jnp.clip(0.5 * x + 0.5, 0.0, 1.0),
)
SPARSE_SIGMOID = row(
    spec.sparse_sigmoid,
    lambda x: jnp.clip(0.5 * x + 0.5, 0.0, 1.0),
    lambda dy, x: jnp.where((x <= -1) | (x >= 1), 0.0, 0.5 * dy),
)
SQUAREPLUS = row(spec.squareplus, _squareplus, _dsquareplus)


def sparse_plus(x):
    """(x + 1)^2 / 4 between -1 and 1, 0 below and x above (any shape)."""
    return SPARSE_PLUS(x)


def sparse_sigmoid(x):
    """(x + 1) / 2 clipped to [0, 1] (any shape). Derivative at both ends: 0."""
    return SPARSE_SIGMOID(x)


def squareplus(x, *, b=4.0):
    """(x + sqrt(x^2 + b)) / 2, element by element (any shape)."""
    return SQUAREPLUS(x, b=b)


RULES = {rule.spec.name: rule for rule in (SPARSE_PLUS, SPARSE_SIGMOID, SQUAREPLUS)}
