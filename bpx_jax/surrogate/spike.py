"""Spikes with a smooth backward for JAX. Maths, choices and source: bpx/surrogate/spike.py."""

import math

import jax.numpy as jnp

from bpx.surrogate import spike as spec
from bpx_jax._elementwise import row


def _spike(x, **options):
    return jnp.where(jnp.isnan(x), x, jnp.where(x >= 0, 1.0, 0.0))


# dy / (1 + slope |x|)^2, divided twice: the square would overflow
def _fast_sigmoid(dy, x, slope):
    q = 1 + slope * jnp.abs(x)
    return dy / q / q


# dy (alpha / 2) / (1 + u^2) with u = pi alpha x / 2; the root of 1 + u^2 does not overflow
def _arctan(dy, x, alpha):
    inverse = 1 / jnp.hypot(jnp.ones_like(x), (math.pi / 2 * alpha) * x)
    return (alpha / 2) * dy * inverse * inverse


def _triangle(dy, x, width, height):
    return dy * (height * jnp.maximum(1 - jnp.abs(x) / width, 0.0))


SPIKE_FAST_SIGMOID = row(spec.spike_fast_sigmoid, _spike, _fast_sigmoid)
SPIKE_ARCTAN = row(spec.spike_arctan, _spike, _arctan)
SPIKE_TRIANGULAR = row(spec.spike_triangular, _spike, _triangle)


def spike_fast_sigmoid(x, *, slope=25.0):
    """1 where x (any shape) >= 0, 0 below; dx = dy / (1 + slope |x|)^2."""
    return SPIKE_FAST_SIGMOID(x, slope=slope)


def spike_arctan(x, *, alpha=2.0):
    """1 where x (any shape) >= 0, 0 below; dx = dy (alpha / 2) / (1 + (pi alpha x / 2)^2)."""
    return SPIKE_ARCTAN(x, alpha=alpha)


def spike_triangular(x, *, width=1.0, height=1.0):
    """1 where x (any shape) >= 0, 0 below; dx = dy height max(0, 1 - |x| / width)."""
    return SPIKE_TRIANGULAR(x, width=width, height=height)


RULES = {rule.spec.name: rule for rule in (SPIKE_FAST_SIGMOID, SPIKE_ARCTAN, SPIKE_TRIANGULAR)}
