"""What the Schedule-Free optimizers share: the three sequences as a transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.spec import Optimizer, SpecError
from bpx_jax import _transform as tf


class ScheduleFreeState(NamedTuple):
    b1: Any
    weight_sum: Any
    step_count: Any
    max_lr: Any
    base_optimizer_state: Any
    z: Any


def schedule_free_eval_params(state: Any, params: Any) -> Any:
    """The parameters at which the model is to be evaluated, from those that are trained."""
    if not hasattr(state, "b1") or not hasattr(state, "z"):
        raise SpecError(
            f"schedule_free: the state is a {type(state).__name__}, expected a ScheduleFreeState"
        )

    def leaf(y: Any, z: Any) -> Any:
        own = jnp.asarray(y).dtype
        b1, y, z = (jnp.asarray(a).astype(_wide(own)) for a in (state.b1, y, z))
        return ((y - (1 - b1) * z) / b1).astype(own)

    return jax.tree.map(leaf, params, state.z)


def _wide(dtype: Any) -> Any:
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def warmed(learning_rate: Any, warmup_steps: int | None) -> Any:
    """A number that rises linearly over the first steps, as a schedule."""
    if warmup_steps is None:
        return learning_rate

    def schedule(count: Any) -> Any:
        part = count.astype(jnp.zeros(()).dtype) / warmup_steps  # the widest float there is
        return tf.scalar(learning_rate, part.dtype) * jnp.clip(part, 0.0, 1.0)

    return schedule


def transformation(
    spec: Optimizer,
    learning_rate: Any,
    b1: Any,
    weight_lr_power: Any,
    state_dtype: Any,
    start: Callable[[Any], Any],
    moments: Callable[[Any], Any],
    rate_of: Callable[[Any], Any],
    direction: Callable[..., Any],
    advance: Callable[..., Any],
) -> tf.GradientTransformation:
    """start(params) -> the base optimizer's state; moments(that) -> its tree, or None;
    rate_of(that) -> the state of its rate; direction(dtype, g, p, moment, base) -> (d, moment);
    advance(base, moments, rate) -> the base's next state.
    """

    def init(params: Any) -> Any:
        dtypes = [jnp.asarray(p).dtype for p in jax.tree.leaves(params)]
        lowest = min(dtypes, key=lambda d: d.itemsize) if dtypes else jnp.dtype(jnp.float32)
        dtype = _wide(lowest)  # sums of weights need the digits
        z = jax.tree.map(lambda p: jnp.array(p, dtype=state_dtype), params)  # a copy
        zero = jnp.zeros((), dtype)
        one = jnp.ones((), jnp.int32)
        return ScheduleFreeState(jnp.asarray(b1, dtype), zero, one, zero + 0, start(params), z)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise SpecError(f"{spec.name}: params is None, expected the parameters")
        kind = state.max_lr.dtype
        ahead = learning_rate(state.step_count) if callable(learning_rate) else learning_rate
        largest = jnp.maximum(state.max_lr, jnp.asarray(ahead).astype(kind))
        weight = largest ** tf.scalar(weight_lr_power, kind)
        total = state.weight_sum + weight
        share = jnp.where(
            total == 0, jnp.zeros_like(total), weight / jnp.where(total == 0, 1, total)
        )
        base = state.base_optimizer_state
        lr, rate = tf.rate_now(learning_rate, rate_of(base))

        def leaf(dtype: Any, g: Any, z: Any, moment: Any, y: Any) -> Any:
            d, moment = direction(dtype, g, y, moment, base)
            beta, c = tf.scalar(b1, dtype), share.astype(dtype)
            moved = z - tf.scalar(lr, dtype) * d  # the step of z as rounded: read once, not d again
            return c * (z - y) + (1 - beta * (1 - c)) * (moved - z), moved, moment

        updates, (z, kept) = tf.map_leaves(spec.name, leaf, grads, (state.z, moments(base)), params)
        count = tf.advance(state.step_count)
        base = advance(base, kept, rate)
        return updates, ScheduleFreeState(state.b1, total, count, largest, base, z)

    return tf.GradientTransformation(init, update)
