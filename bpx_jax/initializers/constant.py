"""Constants for JAX. Maths and source: bpx/initializers/constant.py."""

from bpx.initializers import constant as entry
from bpx_jax._initializer import Initializer

ZEROS = Initializer(entry.ZEROS)
ONES = Initializer(entry.ONES)
CONSTANT = Initializer(entry.CONSTANT)


def zeros(key, shape, dtype=None, out_sharding=None):
    """An array of 0."""
    return ZEROS(key, shape, dtype, out_sharding)


def ones(key, shape, dtype=None, out_sharding=None):
    """An array of 1."""
    return ONES(key, shape, dtype, out_sharding)


def constant(value, dtype=None):
    """An initializer: one value, or an array that broadcasts to the shape."""
    return CONSTANT.bound(dtype, val=value)
