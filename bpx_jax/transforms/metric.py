"""What follows a metric, for JAX. Maths, options and source: bpx/transforms/metric.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.transforms.metric import EARLY_STOPPING, PLATEAU
from bpx_jax._around import check, choose
from bpx_jax._transform import advance, zero


class PlateauState(NamedTuple):
    best: Any
    bad: Any
    cooldown: Any


class StoppingState(NamedTuple):
    best: Any
    bad: Any
    at: Any
    t: Any
    weights: Any


class Monitor(NamedTuple):
    """init(x) -> state; update(metric, x, state) -> (answer, state). Pure, can be traced."""

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any], tuple[Any, Any]]


def reduce_lr_on_plateau(
    mode: str = "min",
    factor: Any = 0.1,
    patience: Any = 10,
    rtol: Any = 1e-4,
    atol: Any = 0.0,
    cooldown: Any = 0,
    min_lr: Any = 0.0,
    eps: Any = 1e-8,
) -> Monitor:
    """A learning rate that falls on a plateau: update(metric, lr, state) -> (lr, state).

    Raises:
        SpecError: an option outside its limits.
    """
    options = {"factor": factor, "patience": patience, "rtol": rtol, "atol": atol}
    check(PLATEAU, mode=mode, cooldown=cooldown, min_lr=min_lr, eps=eps, **options)
    sign = 1.0 if mode == "min" else -1.0

    def init(lr: Any) -> Any:
        dtype = jnp.result_type(float)
        return PlateauState(jnp.asarray(sign * math.inf, dtype), zero(), zero())

    def update(metric: Any, lr: Any, state: Any) -> Any:
        metric = jnp.asarray(metric).astype(state.best.dtype)
        bound = state.best * (1 - sign * rtol) - sign * atol
        better = sign * metric < sign * bound
        bad = jnp.where(better, zero(), advance(state.bad))
        waiting = state.cooldown > 0
        bad = jnp.where(waiting, zero(), bad)
        due = bad > patience
        rate = jnp.asarray(lr, jnp.result_type(float)) if isinstance(lr, float) else lr
        lower = jnp.maximum(rate * factor, min_lr)
        rate = jnp.where(due & (rate - lower > eps), lower, rate)
        wait = jnp.where(
            due, jnp.asarray(cooldown, jnp.int32), state.cooldown - waiting.astype(jnp.int32)
        )
        best = jnp.where(better, metric, state.best)
        return rate, PlateauState(best, jnp.where(due, zero(), bad), wait)

    return Monitor(init, update)


def early_stopping(patience: Any = 10, min_delta: Any = 0.0, mode: str = "min") -> Monitor:
    """The end of a run: update(metric, weights, state) -> (whether to stop, state).

    state.weights are those of the best evaluation.

    Raises:
        SpecError: an option outside its limits.
    """
    check(EARLY_STOPPING, patience=patience, min_delta=min_delta, mode=mode)
    sign = 1.0 if mode == "min" else -1.0

    def init(weights: Any) -> Any:
        best = jnp.asarray(sign * math.inf, jnp.result_type(float))
        return StoppingState(best, zero(), zero() - 1, zero(), weights)

    def update(metric: Any, weights: Any, state: Any) -> Any:
        metric = jnp.asarray(metric).astype(state.best.dtype)
        better = sign * (state.best - metric) > min_delta
        good = StoppingState(metric, zero(), state.t, state.t + 1, weights)
        state = choose(better, good, state._replace(bad=advance(state.bad), t=state.t + 1))
        return state.bad >= patience, state

    return Monitor(init, update)
