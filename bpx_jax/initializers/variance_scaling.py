"""Variance scaling for JAX. Maths and source: bpx/initializers/variance_scaling.py.

As in jax.nn.initializers, the *_normal ones are truncated at 2 sigma, and the layout is
(*field, in, out) unless the axes say otherwise.
"""

from bpx.initializers import variance_scaling as entry
from bpx.profiles import profiled
from bpx_jax._initializer import Initializer

VARIANCE_SCALING = Initializer(entry.VARIANCE_SCALING)
XAVIER_UNIFORM = Initializer(entry.XAVIER_UNIFORM)
XAVIER_NORMAL = Initializer(entry.XAVIER_NORMAL)
KAIMING_UNIFORM = Initializer(entry.KAIMING_UNIFORM)
KAIMING_NORMAL = Initializer(entry.KAIMING_NORMAL)
LECUN_UNIFORM = Initializer(entry.LECUN_UNIFORM)
LECUN_NORMAL = Initializer(entry.LECUN_NORMAL)


@profiled("variance_scaling")
def variance_scaling(scale, mode, distribution, in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer of variance scale / fan, the fan of `mode`."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return VARIANCE_SCALING.bound(dtype, scale=scale, mode=mode, distribution=distribution, **axes)


@profiled("xavier_uniform")
def xavier_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 2 / (fan_in + fan_out)."""
    return XAVIER_UNIFORM.bound(dtype, **_axes(in_axis, out_axis, batch_axis))


@profiled("xavier_normal", beyond=("distribution",))
def xavier_normal(
    in_axis=-2, out_axis=-1, batch_axis=(), dtype=None, *, distribution="truncated_normal"
):
    """An initializer: truncated normal of variance 2 / (fan_in + fan_out)."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return XAVIER_NORMAL.bound(dtype, distribution=distribution, **axes)


@profiled("kaiming_uniform")
def kaiming_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 2 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return KAIMING_UNIFORM.bound(dtype, nonlinearity="relu", **axes)


@profiled("kaiming_normal", beyond=("distribution",))
def kaiming_normal(
    in_axis=-2, out_axis=-1, batch_axis=(), dtype=None, *, distribution="truncated_normal"
):
    """An initializer: truncated normal of variance 2 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return KAIMING_NORMAL.bound(dtype, nonlinearity="relu", distribution=distribution, **axes)


@profiled("lecun_uniform")
def lecun_uniform(in_axis=-2, out_axis=-1, batch_axis=(), dtype=None):
    """An initializer: uniform of variance 1 / fan_in."""
    return LECUN_UNIFORM.bound(dtype, **_axes(in_axis, out_axis, batch_axis))


@profiled("lecun_normal", beyond=("distribution",))
def lecun_normal(
    in_axis=-2, out_axis=-1, batch_axis=(), dtype=None, *, distribution="truncated_normal"
):
    """An initializer: truncated normal of variance 1 / fan_in."""
    axes = _axes(in_axis, out_axis, batch_axis)
    return LECUN_NORMAL.bound(dtype, distribution=distribution, **axes)


def _axes(in_axis, out_axis, batch_axis):
    return {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
