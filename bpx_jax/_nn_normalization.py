"""Normalisations for networks over the rules of bpx, re-exported by bpx_jax.nn.

`axis` is where the channels of x lie: 1 as in the rules, -1 for channels last.
"""

import jax.numpy as jnp

from bpx.profiles import profiled, settings
from bpx.spec import require
from bpx_jax.layers import batch_norm as _batch_norm
from bpx_jax.layers import group_norm as _group_norm
from bpx_jax.layers import instance_norm as _instance_norm
from bpx_jax.layers import layer_norm as _layer_norm
from bpx_jax.layers import rms_norm as _rms_norm

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]

layer_norm = profiled("layer_norm")(_layer_norm.layer_norm)


@profiled("rms_norm")
def rms_norm(x, weight=None, *, eps=1e-6):
    """Root-mean-square normalisation of x (*N D) over D; weight (D). eps=None is the machine
    epsilon of the dtype computed in, float32 for half precision. Maths: bpx/layers/rms_norm.py."""
    if eps is None:
        dtype = jnp.asarray(x).dtype
        eps = float(jnp.finfo(dtype if dtype.itemsize > 4 else jnp.float32).eps)
    return _rms_norm.rms_norm(x, weight, eps=eps)


@profiled("group_norm")
def group_norm(x, weight=None, bias=None, *, num_groups=32, eps=1e-5, axis=1):
    """Group normalisation over num_groups groups of the channels of x, which lie along `axis`, and
    over all axes but those and the first. weight, bias: (channels)."""
    x = _channels_second("group_norm", x, axis)
    y = _group_norm.group_norm(x, weight, bias, num_groups=num_groups, eps=eps)
    return jnp.moveaxis(y, 1, axis)


def batch_norm(
    x,
    weight,
    bias,
    running_mean,
    running_var,
    *,
    training,
    profile="flax",
    momentum=None,
    unbiased=None,
    eps=None,
    axis=1,
):
    """(y, new running_mean, new running_var); all vectors (channels), weight and bias or None.

    In training x is normalized by the batch, and the running statistics move as `profile` says,
    which the options given change:

        "flax"   new = m running + (1 - m) batch, m = 0.99, biased variance, eps = 1e-5
        "keras"  as flax, eps = 1e-3
        "torch"  new = (1 - m) running + m batch, m = 0.1, unbiased variance, eps = 1e-5

    Else x is normalized by the running statistics, which come back as they are.
    """
    o = settings("batch_norm", "flax" if profile is None else profile)
    momentum = o["momentum"] if momentum is None else momentum
    kept = 1 - momentum if o["of_batch"] else momentum
    unbiased = o["unbiased"] if unbiased is None else unbiased
    eps = o["eps"] if eps is None else eps
    x = _channels_second("batch_norm", x, axis)
    if not training:
        y = _batch_norm.batch_norm(x, weight, bias, running_mean, running_var, eps=eps)
        return jnp.moveaxis(y, 1, axis), running_mean, running_var
    y, (mean, _, var) = _batch_norm.RULE.with_residuals(
        x, weight, bias, None, None, training=True, eps=eps
    )
    values = x.size // max(x.shape[1], 1)
    if values:
        if unbiased:
            var = var * (values / (values - 1))
        running_mean = _moved("running_mean", running_mean, mean, kept)
        running_var = _moved("running_var", running_var, var, kept)
    return jnp.moveaxis(y, 1, axis), running_mean, running_var


@profiled("instance_norm")
def instance_norm(x, weight=None, bias=None, *, eps=1e-5, axis=1):
    """Instance normalisation over all axes of x but the first and its channels, which lie along
    `axis`. weight, bias: (channels)."""
    x = _channels_second("instance_norm", x, axis)
    return jnp.moveaxis(_instance_norm.instance_norm(x, weight, bias, eps=eps), 1, axis)


def _moved(name, running, batch, kept):
    require(running is not None, f"batch_norm: {name} is None, expected shape {batch.shape}")
    running = jnp.asarray(running)
    require(
        running.shape == batch.shape,
        f"batch_norm: {name} has shape {running.shape}, expected {batch.shape}",
    )
    wide = running.astype(batch.dtype)
    return (kept * wide + (1 - kept) * batch).astype(running.dtype)


def _channels_second(entry, x, axis):
    x = jnp.asarray(x)
    require(
        type(axis) is int and x.ndim > 1 and -x.ndim < axis < x.ndim and axis != 0,
        f"{entry}: axis is {axis!r}, expected an axis of x of shape {x.shape} after the first",
    )
    return jnp.moveaxis(x, axis, 1)
