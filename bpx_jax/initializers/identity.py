"""Identity for JAX. Maths and source: bpx/initializers/identity.py."""

from bpx.initializers import identity as entry
from bpx_jax._initializer import Initializer

IDENTITY = Initializer(entry.IDENTITY)
DIRAC = Initializer(entry.DIRAC)


def identity(dtype=None):
    """An initializer: a matrix with ones on its diagonal."""
    return IDENTITY.bound(dtype)


def dirac(groups=1, in_axis=-2, out_axis=-1, dtype=None):
    """An initializer: a convolution weight of 3, 4 or 5 axes that passes its input on."""
    return DIRAC.bound(dtype, groups=groups, in_axis=in_axis, out_axis=out_axis)
