"""bpx_jax's schedules against the specification, optax's names against optax, and under jit."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx.schedules import ALL
from bpx.spec import SpecError
from bpx_jax import optim, schedules
from bpx_jax.schedules import SCHEDULES
from tests.schedule_values import COUNTS, EPS, assert_close, values
from tests.trajectories import label

CASES = [(s, t) for s in ALL for t in s.trials]


@pytest.mark.parametrize(("spec", "trial"), CASES, ids=label)
def test_values_are_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    options, base = {**spec.options, **trial}, 0.37
    want = [spec.value(int(t), base, **options) for t in COUNTS]
    schedule = SCHEDULES[spec.name](base, **trial)
    with jax.numpy_dtype_promotion("standard"):  # the parts of a sequence mix dtypes
        got = values(schedule)
    assert got.dtype == jnp.float64
    assert_close(got, want, steps=len(COUNTS))


@pytest.mark.parametrize("name", SCHEDULES)
def test_defaults_are_the_entrys(name: str) -> None:
    spec = next(s for s in ALL if s.name == name)
    parameters = list(inspect.signature(SCHEDULES[name]).parameters.values())
    assert parameters[0].name == "base"
    assert {p.name: p.default for p in parameters[1:]} == spec.options


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects],
    ids=lambda x: getattr(x, "name", "") or x.message[:50],
)
def test_rejects(spec: Any, reject: Any) -> None:
    with pytest.raises(SpecError) as caught:
        SCHEDULES[spec.name](0.1, **reject.options)
    assert reject.message in str(caught.value)


def test_one_compilation_serves_every_step_and_value() -> None:
    traced = []

    @jax.jit
    def rate(count: Any, base: Any, low: Any) -> Any:
        traced.append(1)
        return schedules.cosine_annealing_lr(base, T_max=30, eta_min=low)(count)

    spec = next(s for s in ALL if s.name == "cosine_annealing_lr")
    for t, base, low in ((0, 0.5, 0.1), (7, 0.4, 0.2), (29, 0.3, 0.0)):
        got = rate(jnp.int32(t), jnp.float64(base), jnp.float64(low))
        want = spec.value(t, base, **{**spec.options, "T_max": 30, "eta_min": low})
        np.testing.assert_allclose(got, want, rtol=0, atol=(32 + t) * EPS * base)
    assert len(traced) == 1


def test_schedules_drive_an_optimizer() -> None:
    """bpx's and optax's optimizers take them; the step is compiled once."""
    schedule = schedules.warmup_cosine_decay_schedule(0.0, 0.3, 4, 20)
    w = jnp.asarray([1.0, -2.0, 0.5])
    for module in (optim, optax):
        tx, traced = module.sgd(schedule), []

        @jax.jit
        def step(state: Any, g: Any, tx: Any = tx, traced: Any = traced) -> Any:
            traced.append(1)
            return tx.update(g, state)

        state = tx.init(w)
        for t in range(12):
            updates, state = step(state, w * (t + 1))
            want = -schedule(t) * w * (t + 1)
            np.testing.assert_allclose(updates, want, rtol=8 * EPS)
        assert len(traced) == 1


def test_float32_and_large_counts() -> None:
    """Without 64-bit types; a count past 2^24, and at the largest int32, is rounded and no more."""
    eps = float(jnp.finfo(jnp.float32).eps)
    cases = [
        ("cosine_annealing_lr", {"T_max": 37, "eta_min": 0.01}),
        ("cosine_annealing_warm_restarts", {"T_0": 7, "T_mult": 2}),
        ("one_cycle_lr", {"total_steps": 90}),
        ("linear_lr", {"total_iters": 55}),
    ]
    with jax.enable_x64(False):
        for name, options in cases:
            spec = next(s for s in ALL if s.name == name)
            got = values(SCHEDULES[name](0.37, **options))
            assert got.dtype == jnp.float32
            want = [spec.value(int(t), 0.37, **{**spec.options, **options}) for t in COUNTS]
            assert_close(got, want, eps, steps=len(COUNTS))
        huge = jnp.int32(2**31 - 1)
        restarts = SCHEDULES["cosine_annealing_warm_restarts"](1.0, T_0=10, T_mult=2)
        spec = next(s for s in ALL if s.name == "cosine_annealing_warm_restarts")
        want = spec.value(2**31 - 1, 1.0, T_0=10, T_mult=2, eta_min=0.0)
        assert_close(restarts(huge), want, eps)
