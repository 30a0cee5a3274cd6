"""Orthogonal for PyTorch. Maths and source: bpx/initializers/orthogonal.py."""

from bpx.initializers.orthogonal import SPEC
from bpx.profiles import profiled
from bpx_torch._initializer import Initializer

ORTHOGONAL = Initializer(SPEC)


@profiled("orthogonal", skip=("axis",))
def orthogonal_(tensor, gain=1, generator=None, *, key=None):
    """Fill a tensor with a matrix (axis 0 by the rest) of orthonormal rows or columns, in place."""
    return ORTHOGONAL.fill_(tensor, generator, key, gain=gain)
