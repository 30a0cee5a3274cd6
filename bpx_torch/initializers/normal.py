"""Normal for PyTorch. Maths and source: bpx/initializers/normal.py."""

from bpx.initializers.normal import SPEC
from bpx.profiles import profiled
from bpx_torch._initializer import Initializer

NORMAL = Initializer(SPEC)


@profiled("normal")
def normal_(tensor, mean=0.0, std=1.0, generator=None, *, key=None):
    """Fill a tensor with normal values, in place."""
    return NORMAL.fill_(tensor, generator, key, mean=mean, std=std)
