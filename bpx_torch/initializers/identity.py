"""Identity for PyTorch. Maths and source: bpx/initializers/identity.py."""

from bpx.initializers import identity
from bpx_torch._initializer import Initializer

IDENTITY = Initializer(identity.IDENTITY)
DIRAC = Initializer(identity.DIRAC)


def identity_(tensor):
    """Fill a matrix with ones on its diagonal and zeros elsewhere, in place."""
    return IDENTITY.fill_(tensor)


def dirac_(tensor, groups=1):
    """Fill a convolution weight of 3, 4 or 5 axes so that it passes its input on, in place."""
    return DIRAC.fill_(tensor, groups=groups)
