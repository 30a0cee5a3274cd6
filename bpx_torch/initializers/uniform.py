"""Uniform for PyTorch. Maths and source: bpx/initializers/uniform.py."""

from bpx.initializers.uniform import SPEC
from bpx.profiles import profiled
from bpx_torch._initializer import Initializer

UNIFORM = Initializer(SPEC)


@profiled("uniform")
def uniform_(tensor, a=0.0, b=1.0, generator=None, *, key=None):
    """Fill a tensor with values uniform in [a, b), in place."""
    return UNIFORM.fill_(tensor, generator, key, a=a, b=b)
