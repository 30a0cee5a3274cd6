"""The specification's transforms: records, rejects, and steps worked out by hand."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from bpx.spec import SpecError
from bpx.training import Transform
from bpx.transforms import ALL
from bpx.transforms.window import finish
from tests.trajectories import label

SPECS = {spec.name: spec for spec in ALL}
LEADING = {"gradients": 3, "weights": 2, "metric": 3}


@pytest.mark.parametrize("spec", ALL, ids=label)
def test_record_is_consistent(spec: Transform) -> None:
    names = list(inspect.signature(spec.step).parameters)[LEADING[spec.on] :]
    assert names == list(spec.options)
    start = 0.3 if spec.on == "metric" else [np.ones(2)]
    for trial in spec.trials:
        options = {**spec.options, **trial}
        spec.check(options)
        assert tuple(spec.init(start, **options)) == spec.state
    for name, default in spec.options.items():
        assert any(name in t and t[name] != default for t in spec.trials), f"{name} is never tried"


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", ""),
)
def test_rejects(spec: Transform, reject: Any) -> None:
    with pytest.raises(SpecError) as caught:
        spec.check({**spec.options, **reject.options})
    assert reject.message in str(caught.value)
    assert str(caught.value).startswith(spec.name + ": ")


def step(name: str, gs: Any, ps: Any = None, **options: Any) -> Any:
    spec = SPECS[name]
    gs = [np.asarray(g, float) for g in gs]
    ps = gs if ps is None else [np.asarray(p, float) for p in ps]
    options = {**spec.options, **options}
    with np.errstate(all="ignore"):
        return spec.step(gs, ps, spec.init(ps, **options), **options)[0]


BY_HAND = [
    ("clip_by_value", [[3.0, -0.5, -2.0]], None, {"max_value": 1.5}, [[1.5, -0.5, -1.5]]),
    ("clip_by_norm", [[3.0, 4.0], [0.3]], None, {"max_norm": 2.5}, [[1.5, 2.0], [0.3]]),
    ("clip_by_norm", [[7.0, -1.0]], None, {"max_norm": 2.5, "mean": True}, [[3.5, -0.5]]),
    ("clip_by_norm", [[7.0, -8.0]], None, {"norm_type": math.inf}, [[0.875, -1.0]]),
    (
        "clip_by_global_norm",
        [[2.0, 4.0], [-4.0]],
        None,
        {"max_norm": 3.0, "profile": "optax"},
        [[1.0, 2.0], [-2.0]],
    ),
    (
        "adaptive_grad_clip",  # the units are the rows; the second is not clipped
        [[[3.0, 4.0], [0.1, 0.0]]],
        [[[0.0, 2.0], [0.0, 2.0]]],
        {"clipping": 0.5},
        [[[0.6, 0.8], [0.1, 0.0]]],
    ),
    ("l1_penalty", [[1.0, 1.0, 1.0]], [[-3.0, 0.0, 2.0]], {"scale": 0.5}, [[0.5, 1.0, 1.5]]),
    ("l2_penalty", [[1.0, 1.0]], [[-3.0, 2.0]], {"scale": 0.5}, [[-0.5, 2.0]]),
]


@pytest.mark.parametrize(("name", "gs", "ps", "options", "want"), BY_HAND)
def test_gradients_by_hand(name: str, gs: Any, ps: Any, options: Any, want: Any) -> None:
    for got, expected in zip(step(name, gs, ps, **options), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-15)


def test_torchs_global_norm_has_its_small_number() -> None:
    (got,) = step("clip_by_global_norm", [[3.0, 4.0]], max_norm=1.0)
    np.testing.assert_allclose(got, np.array([3.0, 4.0]) / (5 + 1e-6), rtol=1e-15)


def test_non_finite_gradients() -> None:
    """What the pages say: a NaN goes to all that is clipped together, an infinity makes it 0."""
    nan, inf = math.nan, math.inf
    np.testing.assert_equal(step("clip_by_value", [[nan, -inf]])[0], [nan, -1.0])
    for profile in ("torch", "optax"):
        a, b = step("clip_by_global_norm", [[nan, 1.0], [1.0]], profile=profile)
        assert np.isnan(a).all()
        assert np.isnan(b).all()
        a, b = step("clip_by_global_norm", [[inf, 1.0], [1.0]], profile=profile)
        np.testing.assert_equal(a, [nan, 0.0])
        np.testing.assert_equal(b, [0.0])
    a, b = step("clip_by_norm", [[nan, 1.0], [0.5]])
    assert np.isnan(a).all()
    np.testing.assert_equal(b, [0.5])
    (rows,) = step("adaptive_grad_clip", [[[nan, 1.0], [0.0, 1.0]]], [[[1.0, 1.0], [1.0, 1.0]]])
    assert np.isnan(rows[0]).all()
    assert np.isfinite(rows[1]).all()


def test_a_large_norm_does_not_overflow_and_empty_arrays_have_none() -> None:
    (got, empty) = step("clip_by_global_norm", [[3e200, 4e200], np.zeros((0, 2))], profile="optax")
    np.testing.assert_allclose(got, [0.6, 0.8], rtol=1e-15)
    assert empty.shape == (0, 2)
    assert step("clip_by_norm", [np.zeros(0), np.zeros(())], mean=True)[1] == 0


def run(name: str, xs: Any, **options: Any) -> list[Any]:
    spec = SPECS[name]
    options = {**spec.options, **options}
    held = [np.zeros(1)]
    state, out = spec.init(held, **options), []
    for x in xs:
        x = [np.asarray([x], float)]
        given = (x, held, state) if spec.on == "gradients" else (x, state)
        y, state = spec.step(*given, **options)
        out.append(None if y is None else float(y[0][0]))
    return out


def test_windows_and_averages_by_hand() -> None:
    assert run("gradient_accumulation", [1, 3, 5, 9], every=2) == [None, 2, None, 7]
    assert run("gradient_accumulation", [1, 3, 5], every=3, mean=False) == [None, None, 9]
    nan = math.nan
    assert run("skip_nonfinite", [1, nan, nan, 2], max_consecutive=2) == [1, None, None, 2]
    got = run("skip_nonfinite", [nan, nan, 3], max_consecutive=1)
    assert got[0] is None
    assert math.isnan(got[1])
    assert run("weight_ema", [4, 8, 2], decay=0.5) == [4, 6, 4]
    np.testing.assert_allclose(run("weight_ema", [4, 8], decay=0.5, debias=True), [4, 20 / 3])
    assert run("weight_swa", [9, 2, 7, 6, 7, 10], start=1, every=2) == [9, 2, 2, 4, 4, 6]
    assert run("lookahead", [4, 8, 2, 6], k=2, alpha=0.25) == [4, 2, 2, 3]
    state = {"n": 2, "sum": [np.array([3.0])]}
    assert finish(state, mean=True) == [1.5]
    assert finish(state, mean=False) == [3.0]
    assert finish({"n": 0, "sum": [np.zeros(1)]}, mean=True) is None
    decay = SPECS["decoupled_decay"]
    assert decay.step([np.array([8.0])], {}, lr=0.5, weight_decay=0.25)[0] == [7.0]


def follow(name: str, metrics: Any, start: Any = 8.0, **options: Any) -> Any:
    spec = SPECS[name]
    options = {**spec.options, **options}
    state, out = spec.init(start, **options), []
    for metric in metrics:
        answer, state = spec.step(metric, start, state, **options)
        out.append(answer)
        start = answer if name == "reduce_lr_on_plateau" else [metric]
    return out, state


def test_metrics_by_hand() -> None:
    half = {"factor": 0.5, "patience": 1, "rtol": 0.0}
    got, _ = follow("reduce_lr_on_plateau", [3, 2, 2, 2, 1, 1, 1], **half)
    assert got == [8, 8, 8, 4, 4, 4, 2]
    got, _ = follow("reduce_lr_on_plateau", [3, 3, 3, 3, 3, 3], cooldown=2, **half)
    assert got == [8, 8, 4, 4, 4, 4]
    got, state = follow("reduce_lr_on_plateau", [3, math.nan, math.nan], **half)
    assert got == [8, 8, 4]
    assert state["best"] == 3
    stops, state = follow("early_stopping", [3, 2, 2.5, 1.95, 4, 1], patience=2, min_delta=0.1)
    assert stops == [False, False, False, True, True, False]
    assert (state["best"], state["at"], state["weights"]) == (1, 5, [4])
    stops, state = follow("early_stopping", [math.nan] * 3, start="first", patience=3)
    assert stops == [False, False, True]
    assert state["weights"] == "first"
