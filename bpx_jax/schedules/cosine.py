"""Cosine annealing for JAX. Maths, options and source: bpx/schedules/cosine.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.schedules.cosine import ANNEALING, RESTARTS
from bpx_jax._schedule import Schedule, check, number, scalar, steps, wave


def cosine_annealing_lr(
    base: Any,
    *,
    T_max: Any = 50,
    eta_min: Any = 0.0,
    exponent: Any = 1.0,
    periodic: bool = True,
) -> Schedule:
    """Half a cosine wave from base to eta_min, and up again (or not: periodic=False).

    Raises:
        SpecError: T_max or exponent is not above 0, or eta_min is not finite.
    """
    check(ANNEALING, T_max=T_max, eta_min=eta_min, exponent=exponent, periodic=periodic)

    def schedule(count: Any) -> Any:
        share = steps(count) / number(T_max)
        # within one period, where a float32 has digits left for the cosine
        share = jnp.mod(share, 2.0) if periodic else jnp.minimum(share, 1.0)
        weight = jnp.where(share == 1, 0.0, jnp.power(wave(share), number(exponent)))
        return scalar(number(base) * weight + number(eta_min) * (1 - weight))

    return schedule


def cosine_annealing_warm_restarts(
    base: Any, *, T_0: int = 10, T_mult: int = 1, eta_min: Any = 0.0
) -> Schedule:
    """Cosine annealing that starts again from base after T_0, then T_0 T_mult, ... steps.

    Raises:
        SpecError: T_0 or T_mult is no integer of at least 1, or eta_min is not finite.
    """
    check(RESTARTS, T_0=T_0, T_mult=T_mult, eta_min=eta_min)
    # the starts of all runs that an int32 can count
    starts, length = [0], T_0
    while T_mult > 1 and starts[-1] + length < 2**31:
        starts.append(starts[-1] + length)
        length *= T_mult

    def schedule(count: Any) -> Any:
        t = jnp.asarray(count)
        if T_mult == 1:
            share = (t % T_0).astype(steps(0).dtype) / T_0
        else:
            run = jnp.sum(t >= jnp.asarray(starts[1:], jnp.int32))
            since = t - jnp.asarray(starts, jnp.int32)[run].astype(t.dtype)
            share = steps(since) / (T_0 * jnp.power(float(T_mult), steps(run)))
        weight = wave(share)
        return scalar(number(base) * weight + number(eta_min) * (1 - weight))

    return schedule
