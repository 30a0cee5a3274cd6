"""Truncated normal for PyTorch. Maths and source: bpx/initializers/truncated_normal.py."""

from bpx.initializers.truncated_normal import SPEC
from bpx_torch._initializer import Initializer

TRUNCATED_NORMAL = Initializer(SPEC)


def truncated_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None, *, key=None):
    """Fill a tensor with normal values truncated to [a, b], absolute bounds, in place."""
    return TRUNCATED_NORMAL.fill_(tensor, generator, key, mean=mean, std=std, a=a, b=b)
