"""Orthogonal for JAX. Maths and source: bpx/initializers/orthogonal.py."""

from bpx.initializers.orthogonal import SPEC
from bpx.profiles import profiled
from bpx_jax._initializer import Initializer

ORTHOGONAL = Initializer(SPEC)


@profiled("orthogonal", lambda o: {"scale": o["gain"], "column_axis": o["axis"]})
def orthogonal(scale=1.0, column_axis=-1, dtype=None):
    """An initializer: a matrix (the rest by column_axis) of orthonormal rows or columns."""
    return ORTHOGONAL.bound(dtype, gain=scale, axis=column_axis)
