"""RMSprop for JAX, with optax's signature. Maths, options and source: bpx/optimizers/rmsprop.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.rmsprop import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf


class ScaleByRmsState(NamedTuple):
    nu: Any


class ScaleByRmsWithCountState(NamedTuple):
    count: Any
    nu: Any


class ScaleByRStdDevState(NamedTuple):
    mu: Any
    nu: Any


class ScaleByRStdDevWithCountState(NamedTuple):
    count: Any
    mu: Any
    nu: Any


def _state(count: Any, mu: Any, nu: Any) -> Any:
    """The tuple optax would use: a field for each of the three that is not None."""
    if mu is None:
        return ScaleByRmsState(nu) if count is None else ScaleByRmsWithCountState(count, nu)
    return (
        ScaleByRStdDevState(mu, nu)
        if count is None
        else ScaleByRStdDevWithCountState(count, mu, nu)
    )


@profiled(
    "rmsprop",
    tf.renamed,
    skip=("weight_decay", "decoupled_weight_decay"),
    beyond=("lr_in_momentum",),
)
def rmsprop(
    learning_rate: Any,
    decay: Any = 0.9,
    eps: Any = 1e-8,
    initial_scale: Any = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Any = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    lr_in_momentum: bool = True,
) -> tf.GradientTransformation:
    """As optax.rmsprop: eps inside the root by default, the velocity already scaled by the rate.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        decay: of the running means, in [0, 1).
        eps: added to the denominator.
        initial_scale: what the running mean of squares starts with.
        eps_in_sqrt: add eps inside the root, not after it.
        centered: divide by the deviation about the running mean of the gradient. The variance is
            kept at 0 or above, where optax's may round below it and give NaN.
        momentum: the decay of the velocity; None keeps no velocity.
        nesterov: look one step ahead along the velocity.
        bias_correction: divide the running means by 1 - decay^t.
        lr_in_momentum: False multiplies the velocity by the rate when it is used, as torch does.

    Raises:
        SpecError: an option outside its limits; nesterov without momentum (optax ignores it).
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        alpha=tf.known(decay, 0.0),
        eps=tf.known(eps, 0.0),
        initial_scale=tf.known(initial_scale, 0.0),
        momentum=0.0 if momentum is None else tf.known(momentum, 0.5),
        nesterov=nesterov,
    )

    def init(params: Any) -> Any:
        count = tf.zero() if bias_correction else None
        mu = tf.zeros(params) if centered else None
        trace = tf.EmptyState() if momentum is None else tf.TraceState(tf.zeros(params))
        return (
            _state(count, mu, tf.full(params, initial_scale)),
            tf.rate_start(learning_rate),
            trace,
        )

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        means, rate, trace = state
        lr, rate = tf.rate_now(learning_rate, rate)
        count = tf.advance(means.count) if bias_correction else None

        def leaf(dtype: Any, g: Any, m: Any, v: Any, buf: Any) -> tuple[Any, Any, Any, Any]:
            keep, small = tf.scalar(decay, dtype), tf.scalar(eps, dtype)
            v = keep * v + (1 - keep) * g * g
            c = 1.0 if count is None else tf.unbiased(keep, count, dtype)
            variance = v / c
            if centered:
                m = keep * m + (1 - keep) * g
                variance = jnp.clip(variance - jnp.square(m / c), 0.0)
            if eps_in_sqrt:
                d = g * jax.lax.rsqrt(variance + small)
            else:
                d = g / (jnp.sqrt(variance) + small)
            size = -tf.scalar(lr, dtype)
            if momentum is None or lr_in_momentum:
                d = size * d
            if momentum is not None:
                along = tf.scalar(momentum, dtype)
                buf = along * buf + d
                d = d + along * buf if nesterov else buf
                d = d if lr_in_momentum else size * d
            return d, m, v, buf

        def native(dtype: Any, g: Any, m: Any, v: Any, buf: Any) -> Any:
            if centered or momentum is not None:
                return None
            keep, small, size = (tf.scalar(x, dtype) for x in (decay, eps, lr))
            c = 1.0 if count is None else tf.unbiased(keep, count, dtype)
            root = jnp.sqrt(c)  # g / (sqrt(v / c) + small), with sqrt(c) multiplied through
            outside, inside = (0.0, small * c) if eps_in_sqrt else (small * root, 0.0)
            return _move.Call("squares", (keep, 1 - keep, size * root, outside, inside), 0)

        mu, bufs = means.mu if centered else None, None if momentum is None else trace.trace
        move = (params, native) if moving else None
        updates, (mu, nu, bufs) = tf.map_leaves(
            SPEC.name, leaf, grads, (mu, means.nu, bufs), move=move
        )
        trace = trace if bufs is None else tf.TraceState(bufs)
        return updates, (_state(count, mu, nu), rate, trace)

    return tf.moving(init, step)
