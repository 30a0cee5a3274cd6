"""The usual formulation of normalisations in jax.numpy, for bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp


def _rms_norm(x, weight=None, *, eps=1e-6):
    y = x * jax.lax.rsqrt(jnp.mean(jnp.square(x), -1, keepdims=True) + eps)
    return y if weight is None else y * weight.reshape((1,) * (x.ndim - 1) + weight.shape)


def _group_norm(x, weight=None, bias=None, *, num_groups=32, eps=1e-5):
    rows = x.reshape(x.shape[0], num_groups, x.size // max(x.shape[0] * num_groups, 1))
    variance = jnp.var(rows, 2, keepdims=True)
    rows = (rows - jnp.mean(rows, 2, keepdims=True)) * jax.lax.rsqrt(variance + eps)
    return _scaled(rows.reshape(x.shape), weight, bias)


def _batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, eps=1e-5
):
    rest, shape = (0, *range(2, x.ndim)), (1, -1) + (1,) * (x.ndim - 2)
    if training:
        running_mean, running_var = jnp.mean(x, rest), jnp.var(x, rest)
    y = (x - running_mean.reshape(shape)) * jax.lax.rsqrt(running_var.reshape(shape) + eps)
    return _scaled(y, weight, bias)


def _instance_norm(x, weight=None, bias=None, *, eps=1e-5):
    rest = tuple(range(2, x.ndim))
    variance = jnp.var(x, rest, keepdims=True)
    y = (x - jnp.mean(x, rest, keepdims=True)) * jax.lax.rsqrt(variance + eps)
    return _scaled(y, weight, bias)


def _scaled(y, weight, bias):
    shape = (1, -1) + (1,) * (y.ndim - 2)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


ORACLES = {
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
}

DIFFERS: dict[str, dict[str, str]] = {
    "rms_norm": {"one column": "rstd - x^2 rstd^3 cancels to nothing: rounding is left"},
}
