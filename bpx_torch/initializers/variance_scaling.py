"""Variance scaling for PyTorch. Maths and source: bpx/initializers/variance_scaling.py.

Without a layout a weight is (out, in, *field).
"""

import warnings

from bpx.initializers import variance_scaling as entry
from bpx.profiles import profiled
from bpx_torch._initializer import Initializer

VARIANCE_SCALING = Initializer(entry.VARIANCE_SCALING)
XAVIER_UNIFORM = Initializer(entry.XAVIER_UNIFORM)
XAVIER_NORMAL = Initializer(entry.XAVIER_NORMAL)
KAIMING_UNIFORM = Initializer(entry.KAIMING_UNIFORM)
KAIMING_NORMAL = Initializer(entry.KAIMING_NORMAL)
LECUN_UNIFORM = Initializer(entry.LECUN_UNIFORM)
LECUN_NORMAL = Initializer(entry.LECUN_NORMAL)

# a tensor lies in torch's layout under every profile, unless `layout` says otherwise
AXES = ("in_axis", "out_axis")


@profiled("xavier_uniform", skip=AXES)
def xavier_uniform_(tensor, gain=1.0, generator=None, *, key=None, layout=None):
    """Fill a weight with Xavier uniform values, in place."""
    return XAVIER_UNIFORM.fill_(tensor, generator, key, gain=gain, layout=layout)


@profiled("xavier_normal", skip=AXES, beyond=("distribution",))
def xavier_normal_(
    tensor, gain=1.0, generator=None, *, key=None, layout=None, distribution="normal"
):
    """Fill a weight with Xavier normal values, not truncated but with
    distribution="truncated_normal", in place."""
    options = {"gain": gain, "layout": layout, "distribution": distribution}
    return XAVIER_NORMAL.fill_(tensor, generator, key, **options)


@profiled("kaiming_uniform", skip=AXES)
def kaiming_uniform_(
    tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None, *, key=None, layout=None
):
    """Fill a weight with Kaiming uniform values, in place."""
    return _kaiming(KAIMING_UNIFORM, tensor, a, mode, nonlinearity, generator, key, layout)


@profiled("kaiming_normal", skip=AXES, beyond=("distribution",))
def kaiming_normal_(
    tensor,
    a=0,
    mode="fan_in",
    nonlinearity="leaky_relu",
    generator=None,
    *,
    key=None,
    layout=None,
    distribution="normal",
):
    """Fill a weight with Kaiming normal values, not truncated but with
    distribution="truncated_normal", in place."""
    given = (a, mode, nonlinearity, generator, key, layout)
    return _kaiming(KAIMING_NORMAL, tensor, *given, distribution=distribution)


def _kaiming(initializer, tensor, a, mode, nonlinearity, generator, key, layout, **more):
    if 0 in tensor.shape:
        # torch's words, for whoever filters them
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=4)
    mode = mode.lower() if isinstance(mode, str) else mode  # torch takes FAN_IN, too
    options = {"a": a, "mode": mode, "nonlinearity": nonlinearity, "layout": layout}
    return initializer.fill_(tensor, generator, key, **options, **more)
