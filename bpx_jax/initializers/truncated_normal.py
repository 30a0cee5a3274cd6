"""Truncated normal for JAX. Maths and source: bpx/initializers/truncated_normal.py."""

from bpx.initializers.truncated_normal import SPEC
from bpx_jax._initializer import Initializer

TRUNCATED_NORMAL = Initializer(SPEC)


def truncated_normal(stddev=1e-2, dtype=None, lower=-2.0, upper=2.0):
    """An initializer: stddev times a standard normal truncated to [lower, upper]."""
    return TRUNCATED_NORMAL.bound(dtype, std=stddev, a=lower, b=upper, bounds="sigma")
