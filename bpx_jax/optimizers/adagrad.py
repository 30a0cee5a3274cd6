"""Adagrad for JAX, with optax's signature. Maths, options and source: bpx/optimizers/adagrad.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.adagrad import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf


class ScaleByRssState(NamedTuple):
    sum_of_squares: Any


@profiled(
    "adagrad",
    tf.renamed,
    skip=("weight_decay", "decoupled_weight_decay"),
    beyond=("eps_in_sqrt",),
)
def adagrad(
    learning_rate: Any,
    initial_accumulator_value: Any = 0.1,
    eps: Any = 1e-7,
    *,
    eps_in_sqrt: bool = True,
) -> tf.GradientTransformation:
    """As optax.adagrad: eps is inside the root.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        initial_accumulator_value: what the sums of squares start with, at least 0.
        eps: added to the sum, inside the root.
        eps_in_sqrt: False adds eps to the root, as torch does.

    Raises:
        SpecError: an option outside its limits.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        initial_accumulator_value=tf.known(initial_accumulator_value, 0.0),
        eps=tf.known(eps, 0.0),
    )

    def init(params: Any) -> Any:
        sums = tf.full(params, initial_accumulator_value)
        return ScaleByRssState(sums), tf.rate_start(learning_rate)

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        sums, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)

        def leaf(dtype: Any, g: Any, total: Any) -> tuple[Any, Any]:
            total = total + g * g
            if not eps_in_sqrt:
                root = jnp.sqrt(total) + tf.scalar(eps, dtype)
                return -tf.scalar(lr, dtype) * g / root, total
            inverse = jax.lax.rsqrt(total + tf.scalar(eps, dtype))
            step = -tf.scalar(lr, dtype) * g * inverse
            return jnp.where(total > 0, step, jnp.zeros_like(step)), total

        def native(dtype: Any, g: Any, total: Any) -> Any:
            small, size = tf.scalar(eps, dtype), tf.scalar(lr, dtype)
            outside, inside = (0.0, small) if eps_in_sqrt else (small, 0.0)
            rates = (1.0, 1.0, size, outside, inside)
            return _move.Call("squares", rates, _move.OTHER * eps_in_sqrt)

        held = (sums.sum_of_squares,)
        move = (params, native) if moving else None
        updates, (total,) = tf.map_leaves(SPEC.name, leaf, grads, held, move=move)
        return updates, (ScaleByRssState(total), rate)

    return tf.moving(init, step)
