"""Schedule-Free AdamW for JAX, optax's signature. Maths: bpx/optimizers/schedule_free_adamw.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.optimizers.schedule_free_adamw import SPEC
from bpx_jax import _transform as tf
from bpx_jax.optimizers._schedule_free import transformation, warmed
from bpx_jax.optimizers.rmsprop import ScaleByRmsWithCountState


def schedule_free_adamw(
    learning_rate: Any = 0.0025,
    warmup_steps: int | None = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    weight_lr_power: Any = 2.0,
    state_dtype: Any = None,
) -> tf.GradientTransformation:
    """As optax.contrib.schedule_free_adamw; the sum of weights is float32 at least.

    Args:
        learning_rate, warmup_steps, weight_lr_power, state_dtype: as in `schedule_free_sgd`.
        b1: the share of the average x in the parameters, between 0 and 1.
        b2: decay of the second moment, in [0, 1).
        eps: added after the root.
        weight_decay: decoupled, multiplied by the rate, at the parameters.

    `bpx_jax.optim.schedule_free_eval_params(state, params)` gives x.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.5), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        weight_decay=tf.known(weight_decay, 0.0),
        warmup_steps=0 if warmup_steps is None else warmup_steps,
        weight_lr_power=tf.known(weight_lr_power, 2.0),
    )
    rate = warmed(learning_rate, warmup_steps)
    decays = tf.known(weight_decay, 1.0) != 0  # a product with 0 would read the parameters again

    def start(params: Any) -> Any:
        moments = ScaleByRmsWithCountState(tf.zero(), tf.zeros(params))
        return moments, tf.EmptyState(), tf.rate_start(rate)

    def direction(dtype: Any, g: Any, p: Any, v: Any, base: Any) -> Any:
        keep, small = tf.scalar(b2, dtype), tf.scalar(eps, dtype)
        v = keep * v + (1 - keep) * g * g
        d = g / (jnp.sqrt(v / tf.unbiased(keep, tf.advance(base[0].count), dtype)) + small)
        return d + tf.scalar(weight_decay, dtype) * p if decays else d, v

    def advance(base: Any, moments: Any, rate: Any) -> Any:
        return ScaleByRmsWithCountState(tf.advance(base[0].count), moments), base[1], rate

    return transformation(
        SPEC,
        rate,
        b1,
        weight_lr_power,
        state_dtype,
        start,
        lambda base: base[0].nu,
        lambda base: base[2],
        direction,
        advance,
    )
