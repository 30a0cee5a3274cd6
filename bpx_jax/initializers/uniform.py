"""Uniform for JAX. Maths and source: bpx/initializers/uniform.py."""

from bpx.initializers.uniform import SPEC
from bpx_jax._initializer import Initializer

UNIFORM = Initializer(SPEC)


def uniform(scale=1e-2, dtype=None):
    """An initializer: uniform in [0, scale)."""
    return UNIFORM.bound(dtype, a=0.0, b=scale)
