"""Schedules of schedules for JAX. Options and source: bpx/schedules/compose.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from bpx.schedules.compose import CHAINED, SEQUENTIAL
from bpx_jax._schedule import Schedule, check, number, scalar

Part = Callable[[Any, Any], Any]


def sequential_lr(
    base: Any, *, schedules: Sequence[Part] = (), milestones: Sequence[int] = ()
) -> Schedule:
    """One schedule (count, base) -> value after the other, each counting from its milestone.

    Raises:
        SpecError: there is no schedule, or the milestones are not increasing or not one less.
    """
    check(SEQUENTIAL, schedules=schedules, milestones=milestones)

    def schedule(count: Any) -> Any:
        t = jnp.asarray(count)
        value = scalar(schedules[0](t, base))
        for milestone, part in zip(milestones, schedules[1:], strict=True):
            value = jnp.where(t < milestone, value, scalar(part(t - milestone, base)))
        return value

    return schedule


def chained_scheduler(base: Any, *, schedules: Sequence[Part] = ()) -> Schedule:
    """base times the factors schedule(count, 1.0) of all of them.

    Raises:
        SpecError: there is no schedule.
    """
    check(CHAINED, schedules=schedules)

    def schedule(count: Any) -> Any:
        value = scalar(number(base))
        for part in schedules:
            value = value * scalar(part(count, 1.0))
        return value

    return schedule
