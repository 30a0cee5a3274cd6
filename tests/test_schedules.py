"""The specification's schedules: records, rejects, and values that the sources give by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from bpx.schedules import ALL
from bpx.spec import SpecError
from bpx.training import Schedule
from tests.trajectories import label

by_name = {spec.name: spec for spec in ALL}


@pytest.mark.parametrize("spec", ALL, ids=label)
def test_record_is_consistent(spec: Schedule) -> None:
    assert list(inspect.signature(spec.value).parameters)[2:] == list(spec.options)
    for trial in spec.trials:
        options = {**spec.options, **trial}
        spec.check(options)
        for t in (0, 1, 17, 400):
            if spec.name == "one_cycle_lr" and t > options["total_steps"]:
                continue
            value = spec.value(t, 0.4, **options)
            assert isinstance(value, float)
            assert math.isfinite(value)
    for name, default in spec.options.items():
        assert any(name in t and t[name] != default for t in spec.trials), f"{name} is never tried"


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", ""),
)
def test_rejects(spec: Schedule, reject: Any) -> None:
    with pytest.raises(SpecError) as caught:
        spec.check({**spec.options, **reject.options})
    assert reject.message in str(caught.value)
    assert str(caught.value).startswith(spec.name + ": ")


# (entry, base, options, t -> value worked out by hand)
BY_HAND = [
    ("step_lr", 8.0, {"step_size": 3, "gamma": 0.5}, {0: 8, 2: 8, 3: 4, 8: 2}),
    ("multi_step_lr", 8.0, {"milestones": (2, 5), "gamma": 0.5}, {1: 8, 2: 4, 4: 4, 5: 2}),
    ("exponential_lr", 8.0, {"gamma": 0.25, "period": 2, "begin": 1}, {0: 8, 2: 4, 3: 2}),
    ("constant_lr", 8.0, {"factor": 0.25, "total_iters": 2}, {0: 2, 1: 2, 2: 8}),
    ("linear_lr", 8.0, {"start_factor": 0.5, "total_iters": 4}, {0: 4, 1: 5, 4: 8, 9: 8}),
    ("polynomial_lr", 8.0, {"total_iters": 4, "power": 2, "end": 4.0}, {0: 8, 2: 5, 4: 4, 5: 4}),
    ("cosine_annealing_lr", 9.0, {"T_max": 3, "eta_min": 1.0}, {0: 9, 1: 7, 2: 3, 3: 1, 4: 3}),
    ("cosine_annealing_lr", 9.0, {"T_max": 3, "periodic": False}, {1: 6.75, 3: 0, 4: 0}),
    ("cosine_annealing_warm_restarts", 8.0, {"T_0": 2, "T_mult": 2}, {1: 4, 2: 8, 4: 4, 6: 8}),
    ("cyclic_lr", 2.0, {"max_lr": 4.0, "step_size_up": 2}, {0: 2, 1: 3, 2: 4, 3: 3, 4: 2}),
    ("cyclic_lr", 2.0, {"max_lr": 4.0, "step_size_up": 2, "mode": "triangular2"}, {2: 4, 6: 3}),
    (
        "one_cycle_lr",
        8.0,
        {
            "total_steps": 10,
            "div_factor": 4.0,
            "final_div_factor": 2.0,
            "anneal_strategy": "linear",
        },
        {0: 2, 1: 5, 2: 8, 9: 1, 12: 1},
    ),
    (
        "one_cycle_lr",
        8.0,
        {"total_steps": 10, "pct_start": 0.1, "div_factor": 4.0},  # no step is left to go up in
        {0: 8},
    ),
]


@pytest.mark.parametrize(("name", "base", "options", "values"), BY_HAND)
def test_values_by_hand(
    name: str, base: float, options: dict[str, Any], values: dict[int, float]
) -> None:
    spec = by_name[name]
    options = {**spec.options, **options}
    got = [spec.value(t, base, **options) for t in values]
    np.testing.assert_allclose(got, list(values.values()), rtol=8 * np.finfo(float).eps)


@pytest.mark.parametrize("base", [0.3, -0.2, 0.0])
def test_a_negative_or_zero_base_is_no_special_case(base: float) -> None:
    for name in ("step_lr", "linear_lr", "cosine_annealing_lr", "polynomial_lr"):
        spec = by_name[name]
        ratio = spec.value(3, 1.0, **spec.options)
        assert spec.value(3, base, **spec.options) == pytest.approx(base * ratio, rel=1e-15)
