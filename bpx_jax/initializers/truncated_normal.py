"""Truncated normal for JAX. Maths and source: bpx/initializers/truncated_normal.py."""

from bpx.initializers.truncated_normal import SPEC
from bpx.profiles import profiled
from bpx_jax._initializer import Initializer

TRUNCATED_NORMAL = Initializer(SPEC)


@profiled(
    "truncated_normal",
    lambda o: {"stddev": o["std"], "lower": o["a"], "upper": o["b"], "bounds": o["bounds"]},
    beyond=("bounds",),
)
def truncated_normal(stddev=1e-2, dtype=None, lower=-2.0, upper=2.0, *, bounds="sigma"):
    """An initializer: stddev times a standard normal truncated to [lower, upper], or a normal that
    is truncated there afterwards with bounds="absolute"."""
    return TRUNCATED_NORMAL.bound(dtype, std=stddev, a=lower, b=upper, bounds=bounds)
