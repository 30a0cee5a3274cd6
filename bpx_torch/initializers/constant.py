"""Constants for PyTorch. Maths and source: bpx/initializers/constant.py."""

from bpx.initializers import constant
from bpx_torch._initializer import Initializer

ZEROS = Initializer(constant.ZEROS)
ONES = Initializer(constant.ONES)
CONSTANT = Initializer(constant.CONSTANT)


def zeros_(tensor):
    """Fill a tensor with 0, in place."""
    return ZEROS.fill_(tensor)


def ones_(tensor):
    """Fill a tensor with 1, in place."""
    return ONES.fill_(tensor)


def constant_(tensor, val):
    """Fill a tensor with `val`, in place."""
    return CONSTANT.fill_(tensor, val=val)
