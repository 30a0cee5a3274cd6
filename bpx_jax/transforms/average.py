"""Averages of the weights for JAX. Maths, options and source: bpx/transforms/average.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.spec import SpecError, one_of
from bpx.transforms.average import EMA, LOOKAHEAD, SWA
from bpx_jax import _transform as tf
from bpx_jax._around import check, choose


class EmaState(NamedTuple):
    count: Any
    ema: Any


class SwaState(NamedTuple):
    steps: Any
    count: Any
    mean: Any


class LookaheadState(NamedTuple):
    fast_state: Any
    steps_since_sync: Any


class LookaheadParams(NamedTuple):
    """Fast weights, for gradients, and slow ones, for evaluation."""

    fast: Any
    slow: Any

    @classmethod
    def init_synced(cls, params: Any) -> LookaheadParams:
        return cls(fast=params, slow=params)


def _wide_zeros(params: Any, dtype: Any) -> Any:
    def zeros(p: Any) -> Any:
        wide = tf.wide(EMA.name, jnp.asarray(p)) if dtype is None else dtype
        return jnp.zeros_like(p, dtype=wide)

    return jax.tree.map(zeros, params)


def weight_ema(
    decay: Any = 0.999,
    *,
    debias: bool = False,
    accumulator_dtype: Any = None,
    start: str = "weights",
) -> tf.GradientTransformation:
    """An exponential moving average: update(weights, state) -> (average, state).

    Args:
        decay: the weight of what was, in [0, 1].
        debias: start from 0 and correct for it.
        accumulator_dtype: of the average that is kept; None is float32 at least.
        start: "weights", the first ones, or "zeros", which is what debias corrects.

    Raises:
        SpecError: decay is not in [0, 1], or is 1 with debias.
    """
    check(EMA, decay=decay, debias=debias)
    one_of(EMA.name, "start", start, ("weights", "zeros"))
    copies = start == "weights" and not debias

    def init(params: Any) -> Any:
        return EmaState(tf.zero(), _wide_zeros(params, accumulator_dtype))

    def update(xs: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        count = tf.advance(state.count)

        def leaf(dtype: Any, x: Any, mean: Any) -> Any:
            rate = tf.scalar(decay, dtype)
            mean = rate * mean + (1 - rate) * x
            if copies:
                mean = jnp.where(count == 1, x, mean)
            return (mean / tf.unbiased(rate, count, dtype) if debias else mean), mean

        out, (mean,) = tf.map_leaves(EMA.name, leaf, xs, (state.ema,))
        return out, EmaState(count, mean)

    return tf.GradientTransformation(init, update)


def weight_swa(start: int = 0, every: int = 1) -> tf.GradientTransformation:
    """The mean of every `every`-th weights beyond `start`: update(weights, state) -> (mean, state).

    Raises:
        SpecError: start is no integer of at least 0, or every of at least 1.
    """
    check(SWA, start=start, every=every)

    def init(params: Any) -> Any:
        return SwaState(tf.zero(), tf.zero(), _wide_zeros(params, None))

    def update(xs: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        beyond = state.steps - start
        due = (beyond >= 0) & (beyond % every == 0)
        count = jnp.where(due, tf.advance(state.count), state.count)

        def leaf(dtype: Any, x: Any, mean: Any) -> Any:
            share = 1 / jnp.maximum(count, 1).astype(dtype)
            mean = jnp.where(due, mean + (x - mean) * share, mean)
            return jnp.where(count > 0, mean, x), mean

        out, (mean,) = tf.map_leaves(SWA.name, leaf, xs, (state.mean,))
        return out, SwaState(tf.advance(state.steps), count, mean)

    return tf.GradientTransformation(init, update)


def lookahead(
    fast_optimizer: Any, sync_period: Any = 5, slow_step_size: Any = 0.5, reset_state: bool = False
) -> tf.GradientTransformation:
    """As optax.lookahead: params are LookaheadParams, gradients those of the fast weights.

    Args:
        fast_optimizer: the optimizer of the fast weights.
        sync_period: k, the steps between two steps back.
        slow_step_size: alpha, how far the slow weights go to the fast ones.
        reset_state: start the fast optimizer's state anew after each step back.

    Raises:
        SpecError: sync_period is no integer of at least 1, slow_step_size is not in [0, 1], or
            params has no slow weights.
    """
    check(LOOKAHEAD, k=sync_period, alpha=slow_step_size)

    def init(params: Any) -> Any:
        return LookaheadState(fast_optimizer.init(getattr(params, "fast", params)), tf.zero())

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if not hasattr(params, "slow"):
            kind = type(params).__name__
            raise SpecError(
                f"{LOOKAHEAD.name}: params is a {kind}, expected LookaheadParams (fast and slow)"
            )
        updates, fast = fast_optimizer.update(grads, state.fast_state, params.fast, **extra)
        n = state.steps_since_sync + 1
        due = n >= sync_period

        def leaf(dtype: Any, u: Any, p: Any, slow: Any) -> Any:
            moved = slow + tf.scalar(slow_step_size, dtype) * (p + u - slow)
            return (jnp.where(due, moved - p, u),)

        def back(dtype: Any, u: Any, p: Any, slow: Any) -> Any:
            step = tf.scalar(slow_step_size, dtype) * (p + u - slow)
            return (jnp.where(due, step, jnp.zeros_like(step)),)

        name, others = LOOKAHEAD.name, (params.fast, params.slow)
        slows, _ = tf.map_leaves(name, back, updates, (), *others)
        fasts, _ = tf.map_leaves(name, leaf, updates, (), *others)
        if reset_state:
            fast = choose(due, fast_optimizer.init(params.fast), fast)
        state = LookaheadState(fast, jnp.where(due, tf.zero(), n))
        return LookaheadParams(fasts, slows), state

    return tf.GradientTransformation(init, update)
