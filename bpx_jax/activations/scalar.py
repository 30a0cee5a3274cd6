"""Scalar functions for JAX. Maths, choices and source: bpx/activations/scalar.py."""

import jax.numpy as jnp

from bpx.activations import scalar as spec
from bpx_jax._elementwise import row

SIN = row(spec.sin, jnp.sin, lambda dy, x: dy * jnp.cos(x))
EXP = row(spec.exp, jnp.exp, lambda dy, y: dy * y)
COS = row(spec.cos, jnp.cos, lambda dy, x: dy * -jnp.sin(x))
SQUARE = row(spec.square, jnp.square, lambda dy, x: 2 * dy * x)


def sin(x):
    """Sine of x (any shape), in radians. Derivative: cos(x)."""
    return SIN(x)


def exp(x):
    """e to the power of x (any shape). Derivative: the output."""
    return EXP(x)


def cos(x):
    """Cosine of x (any shape), in radians. Derivative: -sin(x)."""
    return COS(x)


def square(x):
    """x times x (any shape). Derivative: 2 x."""
    return SQUARE(x)


RULES = {rule.spec.name: rule for rule in (SIN, EXP, COS, SQUARE)}
