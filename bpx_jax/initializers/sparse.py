"""Sparse for JAX. Maths and source: bpx/initializers/sparse.py."""

from bpx.initializers.sparse import SPEC
from bpx_jax._initializer import Initializer

SPARSE = Initializer(SPEC)


def sparse(sparsity, stddev=1e-2, dtype=None):
    """An initializer: a matrix of normal values with a share of 0 in every column. JAX has none."""
    return SPARSE.bound(dtype, sparsity=sparsity, std=stddev)
