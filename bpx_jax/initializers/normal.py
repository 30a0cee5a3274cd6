"""Normal for JAX. Maths and source: bpx/initializers/normal.py."""

from bpx.initializers.normal import SPEC
from bpx.profiles import profiled
from bpx_jax._initializer import Initializer

NORMAL = Initializer(SPEC)


@profiled("normal", lambda o: {"stddev": o["std"]})
def normal(stddev=1e-2, dtype=None):
    """An initializer: normal with mean 0."""
    return NORMAL.bound(dtype, std=stddev)
