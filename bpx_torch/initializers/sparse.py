"""Sparse for PyTorch. Maths and source: bpx/initializers/sparse.py."""

from bpx.initializers.sparse import SPEC
from bpx_torch._initializer import Initializer

SPARSE = Initializer(SPEC)


def sparse_(tensor, sparsity, std=0.01, generator=None, *, key=None):
    """Fill a matrix with normal values, a share of every column with 0, in place."""
    return SPARSE.fill_(tensor, generator, key, sparsity=sparsity, std=std)
