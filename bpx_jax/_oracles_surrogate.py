"""The rules of bpx/surrogate/ by the usual means in JAX: the value with its gradient stopped, and
the gradient of something else that adds zero."""

import math

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from bpx_jax._oracles_conv import ORACLES as _CONV

_conv = _CONV["conv"]


def _value_of(value, slope_of):
    """value, with the derivative of slope_of."""
    return stop_gradient(value) + (slope_of - stop_gradient(slope_of))


def _sign(x):
    return jnp.where(x >= 0, 1.0, -1.0)


def _spike(x, threshold=0.0):
    return jnp.where(x >= threshold, 1.0, 0.0)


def _inside(x, clip):
    return jnp.clip(x, -clip, clip)


def _fast_sigmoid(x, *, slope=25.0):
    return _value_of(_spike(x), -jnp.sign(x) / (slope * (1 + slope * jnp.abs(x))))


def _arctan(x, *, alpha=2.0):
    return _value_of(_spike(x), jnp.arctan(math.pi / 2 * alpha * x) / math.pi)


def _triangular(x, *, width=1.0, height=1.0):
    near = jnp.clip(x, -width, width)
    return _value_of(_spike(x), height * (near - near * jnp.abs(near) / (2 * width)))


def _changed(change, x, options):
    """x, whose gradient change(dy, options) is: a custom_vjp, which is what clipping is in JAX."""

    @jax.custom_vjp
    def same(x):
        return x

    same.defvjp(lambda x: (x, None), lambda _, dy: (change(dy, **options),))
    return same(x)


def _clipped(dy, clip_value=1.0):
    return jnp.clip(dy, -clip_value, clip_value)


def _shrunk(dy, max_norm=1.0, dim=None):
    norm = jnp.sqrt(jnp.sum(dy**2, axis=dim, keepdims=True))
    return dy * jnp.minimum(max_norm / norm, 1.0)


def _linear(x, weight, bias=None):
    y = jnp.einsum("...i,oi->...o", x, weight)
    return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + bias.shape)


def _sign_symmetric(of, x, weight, bias, scale, **options):
    back = of(x, stop_gradient(scale * jnp.sign(weight)), None, **options)
    return of(stop_gradient(x), weight, bias, **options) + (back - stop_gradient(back))


def _feedback(of, x, weight, feedback, bias, **options):
    back = of(x, stop_gradient(feedback), None, **options)
    return of(stop_gradient(x), weight, bias, **options) + (back - stop_gradient(back))


def _direct(x, h, feedback):
    back = jnp.einsum("...h,oh->...o", h, stop_gradient(feedback))
    return x + (back - stop_gradient(back))


ORACLES = {
    "straight_through_sign": lambda x: _value_of(_sign(x), x),
    "straight_through_round": lambda x: _value_of(jnp.round(x), x),
    "straight_through_binarize": lambda x, threshold=0.0: _value_of(_spike(x, threshold), x),
    "clipped_straight_through_sign": lambda x, clip=1.0: _value_of(_sign(x), _inside(x, clip)),
    "clipped_straight_through_round": lambda x, clip=1.0: _value_of(jnp.round(x), _inside(x, clip)),
    "clipped_straight_through_binarize": lambda x, threshold=0.0, clip=1.0: _value_of(
        _spike(x, threshold), _inside(x - threshold, clip)
    ),
    "spike_fast_sigmoid": _fast_sigmoid,
    "spike_arctan": _arctan,
    "spike_triangular": _triangular,
    "gradient_reversal": lambda x, factor=1.0: _value_of(x, -factor * x),
    "gradient_scale": lambda x, factor=1.0: _value_of(x, factor * x),
    "gradient_clip_value": lambda x, **options: _changed(_clipped, x, options),
    "gradient_clip_norm": lambda x, **options: _changed(_shrunk, x, options),
    "linear_feedback_alignment": lambda x, weight, feedback, bias=None: _feedback(
        _linear, x, weight, feedback, bias
    ),
    "linear_sign_symmetric": lambda x, weight, bias=None, scale=1.0: _sign_symmetric(
        _linear, x, weight, bias, scale
    ),
    "conv_feedback_alignment": lambda x, weight, feedback, bias=None, **options: _feedback(
        _conv, x, weight, feedback, bias, **options
    ),
    "conv_sign_symmetric": lambda x, weight, bias=None, scale=1.0, **options: _sign_symmetric(
        _conv, x, weight, bias, scale, **options
    ),
    "direct_feedback_alignment": _direct,
}

DIFFERS: dict[str, dict[str, str]] = {}
