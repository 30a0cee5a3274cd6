"""Repeated factors for JAX. Maths, options and source: bpx/schedules/decay.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.schedules.decay import EXPONENTIAL, MULTI_STEP, STEP
from bpx_jax._schedule import Schedule, check, number, scalar, steps


def step_lr(base: Any, *, step_size: int = 30, gamma: Any = 0.1) -> Schedule:
    """base times gamma every step_size steps.

    >>> schedule = step_lr(0.4, step_size=2, gamma=0.5)
    >>> print(schedule(3))
    0.2

    Raises:
        SpecError: step_size is no integer of at least 1, or gamma is not finite.
    """
    check(STEP, step_size=step_size, gamma=gamma)

    def schedule(count: Any) -> Any:
        drops = jnp.asarray(count) // step_size
        return scalar(number(base) * jnp.power(number(gamma), steps(drops)))

    return schedule


def multi_step_lr(base: Any, *, milestones: Any = (30, 80), gamma: Any = 0.1) -> Schedule:
    """base times gamma (one number, or one for each) at each milestone.

    Raises:
        SpecError: milestones are no ordered integers of at least 0, or gamma is not finite or not
            one for each of them.
    """
    check(MULTI_STEP, milestones=milestones, gamma=gamma)
    factors = list(gamma) if isinstance(gamma, (list, tuple)) else [gamma] * len(milestones)

    def schedule(count: Any) -> Any:
        value = scalar(number(base))
        for milestone, factor in zip(milestones, factors, strict=True):
            value = jnp.where(jnp.asarray(count) >= milestone, value * number(factor), value)
        return value

    return schedule


def exponential_lr(
    base: Any,
    *,
    gamma: Any = 0.9,
    period: Any = 1,
    begin: int = 0,
    staircase: bool = False,
    end: Any = None,
) -> Schedule:
    """base times gamma every `period` steps, in between too (or not: staircase).

    Raises:
        SpecError: gamma or period is not above 0, begin is below 0, or end is not finite.
    """
    check(EXPONENTIAL, gamma=gamma, period=period, begin=begin, staircase=staircase, end=end)

    def schedule(count: Any) -> Any:
        since = jnp.maximum(steps(count) - begin, 0.0) / number(period)
        rate = number(gamma)
        value = number(base) * jnp.power(rate, jnp.floor(since) if staircase else since)
        if end is not None:
            low, high = jnp.maximum(value, number(end)), jnp.minimum(value, number(end))
            value = jnp.where(jnp.asarray(rate) < 1, low, high)
        return scalar(value)

    return schedule
