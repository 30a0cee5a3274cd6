"""Variance scaling for JAX. Maths and source: bpx/initializers/variance_scaling.py.

As in jax.nn.initializers, the *_normal ones are truncated at 2 sigma, and the layout is
(*field, in, out) unless the axes say otherwise.
"""

from bpx.initializers import variance_scaling as entry
from bpx_jax._initializer import Initializer

VARIANCE_SCALING = Initializer(entry.VARIANCE_SCALING)
XAVIER_UNIFORM = Initializer(entry.XAVIER_UNIFORM)
XAVIER_NORMAL = Initializer(entry.XAVIER_NORMAL)
KAIMING_UNIFORM = Initializer(entry.KAIMING_UNIFORM)
KAIMING_NORMAL = Initializer(entry.KAIMING_NORMAL)
LECUN_UNIFORM = Initializer(entry.LECUN_UNIFORM)
LECUN_NORMAL = Initializer(entry.LECUN_NORMAL)


def variance_scaling(scale, mode, distribution, in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer of variance scale / fan, the fan of `mode`."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return VARIANCE_SCALING.bound(dtype, scale=scale, mode=mode, distribution=distribution, **axes)


def xavier_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 2 / (fan_in + fan_out)."""
    return XAVIER_UNIFORM.bound(dtype, **_axes(in_axis, out_axis, batch_axis))


def xavier_normal(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: truncated normal of variance 2 / (fan_in + fan_out)."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return XAVIER_NORMAL.bound(dtype, distribution="truncated_normal", **axes)


def kaiming_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 2 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return KAIMING_UNIFORM.bound(dtype, nonlinearity="relu", **axes)


def kaiming_normal(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: truncated normal of variance 2 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return KAIMING_NORMAL.bound(dtype, nonlinearity="relu", distribution="truncated_normal", **axes)


def lecun_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 1 / fan_in."""
    return LECUN_UNIFORM.bound(dtype, **_axes(in_axis, out_axis, batch_axis))


def lecun_normal(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: truncated normal of variance 1 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return LECUN_NORMAL.bound(dtype, distribution="truncated_normal", **axes)


def _axes(in_axis, out_axis, batch_axis):
    return {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
