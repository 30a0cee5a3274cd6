"""Variance scaling for PyTorch. Maths and source: bpx/initializers/variance_scaling.py.

Without a layout a weight is (out, in, *field).
"""

import warnings

from bpx.initializers import variance_scaling as entry
from bpx_torch._initializer import Initializer

VARIANCE_SCALING = Initializer(entry.VARIANCE_SCALING)
XAVIER_UNIFORM = Initializer(entry.XAVIER_UNIFORM)
XAVIER_NORMAL = Initializer(entry.XAVIER_NORMAL)
KAIMING_UNIFORM = Initializer(entry.KAIMING_UNIFORM)
KAIMING_NORMAL = Initializer(entry.KAIMING_NORMAL)
LECUN_UNIFORM = Initializer(entry.LECUN_UNIFORM)
LECUN_NORMAL = Initializer(entry.LECUN_NORMAL)


def xavier_uniform_(tensor, gain=1.0, generator=None, *, key=None, layout=None):
    """Fill a weight with Xavier uniform values, in place."""
    return XAVIER_UNIFORM.fill_(tensor, generator, key, gain=gain, layout=layout)


def xavier_normal_(tensor, gain=1.0, generator=None, *, key=None, layout=None):
    """Fill a weight with Xavier normal values, not truncated, in place."""
    return XAVIER_NORMAL.fill_(tensor, generator, key, gain=gain, layout=layout)


def kaiming_uniform_(
    tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None, *, key=None, layout=None
):
    """Fill a weight with Kaiming uniform values, in place."""
    return _kaiming(KAIMING_UNIFORM, tensor, a, mode, nonlinearity, generator, key, layout)


def kaiming_normal_(
    tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None, *, key=None, layout=None
):
    """Fill a weight with Kaiming normal values, not truncated, in place."""
    return _kaiming(KAIMING_NORMAL, tensor, a, mode, nonlinearity, generator, key, layout)


def _kaiming(initializer, tensor, a, mode, nonlinearity, generator, key, layout):
    if 0 in tensor.shape:
        # torch's words, for whoever filters them
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
    mode = mode.lower() if isinstance(mode, str) else mode  # torch takes FAN_IN, too
    options = {"a": a, "mode": mode, "nonlinearity": nonlinearity, "layout": layout}
    return initializer.fill_(tensor, generator, key, **options)
