"""Drop-in for optax.schedules: the same names, signatures and defaults, without optax.

A schedule is a function of the steps taken (from 0) to a scalar; it can be traced. SCHEDULES are by
entry name, `schedule(base, **options)` with the specification's options. `GAPS` has the rest.
"""

from collections.abc import Callable

from bpx_jax._schedule import Schedule
from bpx_jax.schedules._optax import (
    constant_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    exponential_decay,
    join_schedules,
    linear_onecycle_schedule,
    linear_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    polynomial_schedule,
    sgdr_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
)
from bpx_jax.schedules.compose import chained_scheduler, sequential_lr
from bpx_jax.schedules.cosine import cosine_annealing_lr, cosine_annealing_warm_restarts
from bpx_jax.schedules.cycle import cyclic_lr, one_cycle_lr
from bpx_jax.schedules.decay import exponential_lr, multi_step_lr, step_lr
from bpx_jax.schedules.ramp import constant_lr, linear_lr, polynomial_lr

__all__ = [
    "SCHEDULES",
    "chained_scheduler",
    "constant_lr",
    "constant_schedule",
    "cosine_annealing_lr",
    "cosine_annealing_warm_restarts",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "cyclic_lr",
    "exponential_decay",
    "exponential_lr",
    "join_schedules",
    "linear_lr",
    "linear_onecycle_schedule",
    "linear_schedule",
    "multi_step_lr",
    "one_cycle_lr",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_lr",
    "polynomial_schedule",
    "sequential_lr",
    "sgdr_schedule",
    "step_lr",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]

SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "step_lr": step_lr,
    "multi_step_lr": multi_step_lr,
    "exponential_lr": exponential_lr,
    "constant_lr": constant_lr,
    "linear_lr": linear_lr,
    "polynomial_lr": polynomial_lr,
    "cosine_annealing_lr": cosine_annealing_lr,
    "cosine_annealing_warm_restarts": cosine_annealing_warm_restarts,
    "one_cycle_lr": one_cycle_lr,
    "cyclic_lr": cyclic_lr,
    "sequential_lr": sequential_lr,
    "chained_scheduler": chained_scheduler,
}

_WRAPS = "wraps optax's own transformations; it takes these schedules, import it from optax"

GAPS: dict[str, str] = {
    "Schedule": "a type for annotations, import it from optax",
    "inject_hyperparams": _WRAPS,
    "inject_stateful_hyperparams": _WRAPS,
}
