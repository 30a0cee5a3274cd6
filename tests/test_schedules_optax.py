"""bpx_jax's schedules under optax's names against optax: signatures, values, errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

from bpx.spec import SpecError
from bpx_jax import schedules
from tests.schedule_values import COUNTS, assert_close, values

# optax's name -> sets of arguments, far from each other's
OPTAX = {
    "constant_schedule": [{"value": 0.3}],
    "polynomial_schedule": [
        {"init_value": 0.7, "end_value": 0.2, "power": 2.5, "transition_steps": 60},
        {
            "init_value": 0.1,
            "end_value": 0.9,
            "power": 0.5,
            "transition_steps": 31,
            "transition_begin": 12,
        },
        {"init_value": 0.7, "end_value": 0.2, "power": 2.0, "transition_steps": 0},
        {
            "init_value": 0.7,
            "end_value": 0.2,
            "power": 1.0,
            "transition_steps": 9,
            "transition_begin": -4,
        },
    ],
    "linear_schedule": [
        {"init_value": 0.0, "end_value": 0.5, "transition_steps": 70, "transition_begin": 5},
    ],
    "piecewise_constant_schedule": [
        {"init_value": 0.6, "boundaries_and_scales": {50: 0.5, 20: 3.0, 120: 0.0}},
        {"init_value": 0.6},
    ],
    "exponential_decay": [
        {"init_value": 0.6, "transition_steps": 11, "decay_rate": 0.7, "transition_begin": 6},
        {"init_value": 0.6, "transition_steps": 9, "decay_rate": 0.8, "staircase": True},
        {"init_value": 0.6, "transition_steps": 9, "decay_rate": 0.8, "end_value": 0.1},
        {"init_value": 0.6, "transition_steps": 9, "decay_rate": 1.1, "end_value": 2.0},
        {"init_value": 0.6, "transition_steps": 0, "decay_rate": 0.8},
        {"init_value": 0.6, "transition_steps": 5, "decay_rate": 0},
    ],
    "cosine_decay_schedule": [
        {"init_value": 0.6, "decay_steps": 90, "alpha": 0.2, "exponent": 1.5},
        {"init_value": 0.6, "decay_steps": 55},
    ],
    "piecewise_interpolate_schedule": [
        {
            "interpolate_type": "linear",
            "init_value": 0.4,
            "boundaries_and_scales": {90: 0.25, 30: 3.0},
        },
        {
            "interpolate_type": "cosine",
            "init_value": 0.4,
            "boundaries_and_scales": {0: 2.0, 40: 0.5, 41: 3.0},
        },
        {"interpolate_type": "cosine", "init_value": 0.4},
    ],
    "linear_onecycle_schedule": [
        {"transition_steps": 150, "peak_value": 0.8},
        {"transition_steps": 90, "peak_value": 0.8, "pct_start": 0.2, "pct_final": 0.6},
    ],
    "cosine_onecycle_schedule": [
        {"transition_steps": 150, "peak_value": 0.8},
        {"transition_steps": 77, "peak_value": 0.8, "div_factor": 4.0, "final_div_factor": 3.0},
    ],
    "warmup_constant_schedule": [{"init_value": 0.1, "peak_value": 0.8, "warmup_steps": 30}],
    "warmup_cosine_decay_schedule": [
        {
            "init_value": 0.1,
            "peak_value": 0.8,
            "warmup_steps": 30,
            "decay_steps": 150,
            "end_value": 0.02,
            "exponent": 1.3,
        },
        {"init_value": 0.1, "peak_value": 0.8, "warmup_steps": 0, "decay_steps": 90},
        {
            "init_value": 0.5,
            "peak_value": 0.0,
            "warmup_steps": 9,
            "decay_steps": 60,
            "end_value": 0.3,
        },
    ],
    "warmup_exponential_decay_schedule": [
        {
            "init_value": 0.1,
            "peak_value": 0.8,
            "warmup_steps": 30,
            "transition_steps": 12,
            "decay_rate": 0.7,
            "transition_begin": 8,
            "end_value": 0.05,
        },
    ],
    "sgdr_schedule": [
        {
            "cosine_kwargs": [
                {"init_value": 0.1, "peak_value": 0.8, "warmup_steps": 9, "decay_steps": 50},
                {"init_value": 0.2, "peak_value": 0.6, "warmup_steps": 5, "decay_steps": 90},
            ]
        }
    ],
}


@pytest.mark.parametrize(("name", "kw"), [(n, kw) for n, kws in OPTAX.items() for kw in kws])
def test_optaxs_names_give_optaxs_values(name: str, kw: dict[str, Any]) -> None:
    ours, theirs = getattr(schedules, name), getattr(optax.schedules, name)
    both = [
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (ours, theirs)
    ]
    assert both[0] == both[1]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want = values(theirs(**kw), COUNTS.astype(np.int64))  # int32 would make it float32
    assert_close(values(ours(**kw)), want, steps=len(COUNTS))


def test_joined_schedules_are_optaxs() -> None:
    parts = [lambda t: 0.5 + 0.1 * t, lambda t: 3.0 - 0.01 * t, lambda t: 0.2 * t]
    with jax.numpy_dtype_promotion("standard"):
        got = values(schedules.join_schedules(parts, [20, 21]))
        assert_close(got, values(optax.join_schedules(parts, [20, 21])))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: schedules.cosine_decay_schedule(0.1, 0),
            "cosine_annealing_lr: T_max is 0, expected a number above 0",
        ),
        (
            lambda: schedules.piecewise_constant_schedule(0.1, {4: -1.0}),
            "piecewise_constant_schedule: the scale at 4 is -1.0, expected at least 0",
        ),
        (
            lambda: schedules.piecewise_interpolate_schedule("step", 0.1),
            "interpolate_type is 'step', expected one of ['linear', 'cosine']",
        ),
        (lambda: schedules.join_schedules([], []), "schedules is [], expected at least one"),
    ],
)
def test_optaxs_names_refuse(call: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        call()
    assert message in str(caught.value)
