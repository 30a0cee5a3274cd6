"""Uniform for JAX. Maths and source: bpx/initializers/uniform.py."""

from bpx.initializers.uniform import SPEC
from bpx.profiles import profiled
from bpx_jax._initializer import Initializer

UNIFORM = Initializer(SPEC)


@profiled("uniform", lambda o: {"low": o["a"], "scale": o["b"]}, beyond=("low",))
def uniform(scale=1e-2, dtype=None, *, low=0.0):
    """An initializer: uniform in [low, scale)."""
    return UNIFORM.bound(dtype, a=low, b=scale)
