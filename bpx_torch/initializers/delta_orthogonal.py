"""Delta-orthogonal for PyTorch. Maths and source: bpx/initializers/delta_orthogonal.py."""

from bpx.initializers.delta_orthogonal import SPEC
from bpx_torch._initializer import Initializer

DELTA_ORTHOGONAL = Initializer(SPEC)


def delta_orthogonal_(tensor, gain=1.0, generator=None, *, key=None, layout=None):
    """Fill a convolution weight of 3, 4 or 5 axes, (out, in, *field) without a layout, with an
    orthogonal matrix at the centre of its field and 0 elsewhere, in place. torch has none."""
    return DELTA_ORTHOGONAL.fill_(tensor, generator, key, gain=gain, layout=layout)
