"""Truncated normal for PyTorch. Maths and source: bpx/initializers/truncated_normal.py."""

from bpx.initializers.truncated_normal import SPEC
from bpx.profiles import profiled
from bpx_torch._initializer import Initializer

TRUNCATED_NORMAL = Initializer(SPEC)


@profiled("truncated_normal", beyond=("bounds",))
def truncated_normal_(
    tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None, *, key=None, bounds="absolute"
):
    """Fill a tensor with normal values truncated to [a, b], in place. The bounds are values, or
    count standard deviations from the mean with bounds="sigma"."""
    options = {"mean": mean, "std": std, "a": a, "b": b, "bounds": bounds}
    return TRUNCATED_NORMAL.fill_(tensor, generator, key, **options)
