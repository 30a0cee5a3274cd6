"""optax's schedules, by the rules beside them: optax's names, arguments and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bpx.spec import one_of, require
from bpx_jax._schedule import Schedule, number, through
from bpx_jax.schedules.compose import sequential_lr
from bpx_jax.schedules.cosine import cosine_annealing_lr
from bpx_jax.schedules.cycle import one_cycle_lr
from bpx_jax.schedules.decay import exponential_lr, multi_step_lr
from bpx_jax.schedules.ramp import constant_lr, polynomial_lr


def constant_schedule(value: Any) -> Schedule:
    """As optax.constant_schedule."""
    return constant_lr(value, total_iters=0)


def polynomial_schedule(
    init_value: Any, end_value: Any, power: Any, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """As optax.polynomial_schedule; constant where transition_steps is at most 0."""
    if transition_steps <= 0:
        return constant_schedule(init_value)
    begin = max(transition_begin, 0)
    return polynomial_lr(
        init_value, total_iters=transition_steps, power=power, end=end_value, begin=begin
    )


def linear_schedule(
    init_value: Any, end_value: Any, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """As optax.linear_schedule; constant where transition_steps is at most 0."""
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def piecewise_constant_schedule(
    init_value: Any, boundaries_and_scales: dict[int, float] | None = None
) -> Schedule:
    """As optax.piecewise_constant_schedule.

    Raises:
        SpecError: a boundary is no integer of at least 0, or a scale is below 0.
    """
    pairs = _scales("piecewise_constant_schedule", boundaries_and_scales)
    return multi_step_lr(init_value, milestones=[b for b, _ in pairs], gamma=[s for _, s in pairs])


def exponential_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """As optax.exponential_decay; constant where transition_steps is at most 0 or decay_rate 0."""
    if transition_steps <= 0 or (isinstance(decay_rate, (int, float)) and decay_rate == 0):
        return constant_schedule(init_value)
    return exponential_lr(
        init_value,
        gamma=decay_rate,
        period=transition_steps,
        begin=max(transition_begin, 0),
        staircase=staircase,
        end=end_value,
    )


def cosine_decay_schedule(
    init_value: Any, decay_steps: int, alpha: Any = 0.0, exponent: Any = 1.0
) -> Schedule:
    """As optax.cosine_decay_schedule.

    Raises:
        SpecError: decay_steps is not above 0.
    """
    low = number(alpha) * number(init_value)
    return cosine_annealing_lr(
        init_value, T_max=decay_steps, eta_min=low, exponent=exponent, periodic=False
    )


def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: Any, boundaries_and_scales: dict[int, float] | None = None
) -> Schedule:
    """As optax.piecewise_interpolate_schedule, "linear" or "cosine".

    Raises:
        SpecError: another interpolate_type, a boundary that is no integer of at least 0, or a scale
            below 0.
    """
    name = "piecewise_interpolate_schedule"
    one_of(name, "interpolate_type", interpolate_type, ("linear", "cosine"))
    pairs = _scales(name, boundaries_and_scales)

    def schedule(count: Any) -> Any:
        points = [(0, number(init_value))]
        for boundary, scale in pairs:
            points.append((boundary, points[-1][1] * number(scale)))
        return through(points, count, interpolate_type == "cosine")

    return schedule


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """As optax.linear_onecycle_schedule.

    Raises:
        SpecError: transition_steps is no integer of at least 1.
    """
    return one_cycle_lr(
        peak_value,
        total_steps=transition_steps,
        pct_start=pct_start,
        pct_final=pct_final,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        anneal_strategy="linear",
        three_phase=True,
        profile="optax",
    )


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: Any,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """As optax.cosine_onecycle_schedule.

    Raises:
        SpecError: transition_steps is no integer of at least 1.
    """
    return one_cycle_lr(
        peak_value,
        total_steps=transition_steps,
        pct_start=pct_start,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        profile="optax",
    )


def warmup_constant_schedule(init_value: Any, peak_value: Any, warmup_steps: int) -> Schedule:
    """As optax.warmup_constant_schedule."""
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    decay_steps: int,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Schedule:
    """As optax.warmup_cosine_decay_schedule: decay_steps are counted with those of the warm-up.

    Raises:
        SpecError: decay_steps is not above warmup_steps.
    """
    warm = linear_schedule(init_value, peak_value, warmup_steps)
    fall = cosine_annealing_lr(
        peak_value,
        T_max=decay_steps - warmup_steps,
        # optax takes the end as a share of the peak, and of a peak of 0 as 0
        eta_min=0.0 if isinstance(peak_value, (int, float)) and peak_value == 0 else end_value,
        exponent=exponent,
        periodic=False,
    )
    return join_schedules([warm, fall], [warmup_steps])


def warmup_exponential_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """As optax.warmup_exponential_decay_schedule."""
    warm = linear_schedule(init_value, peak_value, warmup_steps)
    fall = exponential_decay(
        peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value
    )
    return join_schedules([warm, fall], [warmup_steps])


def sgdr_schedule(cosine_kwargs: Iterable[dict[str, Any]]) -> Schedule:
    """As optax.sgdr_schedule: a warmup_cosine_decay_schedule after the other."""
    runs = list(cosine_kwargs)
    ends = [sum(r["decay_steps"] for r in runs[: i + 1]) for i in range(len(runs))]
    return join_schedules([warmup_cosine_decay_schedule(**r) for r in runs], ends[:-1])


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """As optax.join_schedules: each schedule counts from its boundary.

    Raises:
        SpecError: there is no schedule, or the boundaries are not increasing or not one less.
    """
    parts = [lambda count, base, part=part: part(count) for part in schedules]
    return sequential_lr(1.0, schedules=parts, milestones=tuple(boundaries))


def _scales(entry: str, given: dict[int, float] | None) -> list[tuple[int, float]]:
    pairs = sorted((given or {}).items())
    for boundary, scale in pairs:
        require(scale >= 0, f"{entry}: the scale at {boundary} is {scale!r}, expected at least 0")
    return pairs
