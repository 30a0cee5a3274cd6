"""Ramps for JAX. Maths, options and source: bpx/schedules/ramp.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.schedules.ramp import CONSTANT, LINEAR, POLYNOMIAL
from bpx_jax._schedule import Schedule, check, number, scalar, steps


def constant_lr(base: Any, *, factor: Any = 1 / 3, total_iters: int = 5) -> Schedule:
    """base, and base times factor for the first total_iters steps.

    Raises:
        SpecError: factor is not finite, or total_iters is no integer of at least 0.
    """
    check(CONSTANT, factor=factor, total_iters=total_iters)

    def schedule(count: Any) -> Any:
        value = scalar(number(base))
        return jnp.where(jnp.asarray(count) < total_iters, value * number(factor), value)

    return schedule


def linear_lr(
    base: Any,
    *,
    start_factor: Any = 1 / 3,
    end_factor: Any = 1.0,
    total_iters: int = 5,
    begin: int = 0,
) -> Schedule:
    """base times a factor that goes from start_factor to end_factor in total_iters steps.

    Raises:
        SpecError: a factor is not finite, total_iters is no integer of at least 1, or begin
            is below 0.
    """
    check(
        LINEAR,
        start_factor=start_factor,
        end_factor=end_factor,
        total_iters=total_iters,
        begin=begin,
    )

    def schedule(count: Any) -> Any:
        done = jnp.clip(steps(count) - begin, 0.0, float(total_iters)) / total_iters
        factor = number(start_factor) * (1 - done) + number(end_factor) * done
        return scalar(number(base) * factor)

    return schedule


def polynomial_lr(
    base: Any, *, total_iters: int = 5, power: Any = 1.0, end: Any = 0.0, begin: int = 0
) -> Schedule:
    """From base to end by a power of the steps that are left.

    Raises:
        SpecError: total_iters is no integer of at least 1, begin or power is below 0, or end is not
            finite.
    """
    check(POLYNOMIAL, total_iters=total_iters, power=power, end=end, begin=begin)

    def schedule(count: Any) -> Any:
        left = jnp.clip(total_iters + begin - steps(count), 0.0, float(total_iters)) / total_iters
        weight = jnp.power(left, number(power))
        return scalar(number(base) * weight + number(end) * (1 - weight))

    return schedule
