"""Cycles for JAX. Maths, options and source: bpx/schedules/cycle.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.schedules.cycle import CYCLIC, ONE_CYCLE
from bpx_jax._schedule import Schedule, check, number, scalar, steps, through


def one_cycle_lr(
    base: Any,
    *,
    total_steps: int = 100,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: Any = 25.0,
    final_div_factor: Any = 1e4,
    three_phase: bool = False,
    profile: str = "torch",
    pct_final: float = 0.85,
) -> Schedule:
    """One cycle up to base and down. profile="torch" or "optax": where the phases end.

    Raises:
        SpecError: an option outside its limits.
    """
    check(
        ONE_CYCLE,
        total_steps=total_steps,
        pct_start=pct_start,
        anneal_strategy=anneal_strategy,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        profile=profile,
        pct_final=pct_final,
    )
    if profile == "torch":
        ends = [pct_start * total_steps - 1, 2 * pct_start * total_steps - 2, total_steps - 1]
    else:
        ends = [int(pct_start * total_steps), int(pct_final * total_steps), total_steps]
    if not three_phase:
        del ends[1]

    def schedule(count: Any) -> Any:
        low = number(base) / number(div_factor)
        values = [number(base), low, low / number(final_div_factor)]
        if not three_phase:
            del values[1]
        points = [(0.0, low), *zip(ends, values, strict=True)]
        return through(points, count, anneal_strategy == "cos")

    return schedule


def cyclic_lr(
    base: Any,
    *,
    max_lr: Any = 0.1,
    step_size_up: Any = 2000,
    step_size_down: Any = None,
    mode: str = "triangular",
    gamma: Any = 1.0,
) -> Schedule:
    """Triangles between base and max_lr.

    Raises:
        SpecError: an option outside its limits.
    """
    check(
        CYCLIC,
        max_lr=max_lr,
        step_size_up=step_size_up,
        step_size_down=step_size_down,
        mode=mode,
        gamma=gamma,
    )

    def schedule(count: Any) -> Any:
        t, up = steps(count), number(step_size_up)
        down = up if step_size_down is None else number(step_size_down)
        cycle = jnp.floor(t / (up + down))
        since = t - cycle * (up + down)
        height = jnp.minimum(since / up, (up + down - since) / down)
        if mode == "triangular2":
            height = height * jnp.exp2(-cycle)
        elif mode == "exp_range":
            height = height * jnp.power(number(gamma), t)
        return scalar(number(base) * (1 - height) + number(max_lr) * height)

    return schedule
