"""bpx_torch's wrappers around an optimizer: the specification's numbers, state, schedulers."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx_torch import optim
from tests.transform_inputs import assert_same
from tests.wrapper_runs import (
    STEPS,
    WRAPPERS,
    feed,
    run,
    specified,
    weights,
    weights_after,
    wrapped,
)

CASES = [
    ("GradientAccumulation", "gradient_accumulation", {}),
    ("GradientAccumulation", "gradient_accumulation", {"mean": False}),
    ("SkipNonfinite", "skip_nonfinite", {}),
    ("DecoupledDecay", "decoupled_decay", {}),
    ("WeightEMA", "weight_ema", {}),
    ("WeightEMA", "weight_ema", {"debias": True}),
    ("WeightSWA", "weight_swa", {}),
    ("Lookahead", "lookahead", {}),
]


@pytest.mark.parametrize(("name", "entry", "kw"), CASES)
def test_runs_are_the_specifications(name: str, entry: str, kw: dict[str, Any]) -> None:
    finite = entry != "skip_nonfinite"
    ps = weights()
    got = run(wrapped(name, ps, **kw), ps, finite=finite)
    for a, b in zip(got, specified(name, entry, finite, **kw), strict=True):
        assert_same(a, b, factor=64 * STEPS)


@pytest.mark.parametrize(("name", "entry", "kw"), CASES)
def test_state_resumes_in_mid_run(name: str, entry: str, kw: dict[str, Any]) -> None:
    ps = weights()
    opt = wrapped(name, ps, **kw)
    run(opt, ps, range(5))
    saved, state = weights_after(ps), copy.deepcopy(opt.state_dict())
    rest = run(opt, ps, range(5, STEPS))
    others = weights()
    again = wrapped(name, others, **kw)
    run(again, others, range(2))  # what is loaded takes the place of a state that is there
    with torch.no_grad():
        for p, value in zip(others, saved, strict=True):
            p.copy_(torch.from_numpy(value))
    again.load_state_dict(state)
    for a, b in zip(run(again, others, range(5, STEPS)), rest, strict=True):
        assert_same(a, b, factor=0)
    torch.optim.SGD(weights(), lr=0.1, momentum=0.6).load_state_dict(state)  # and without it


@pytest.mark.parametrize("name", WRAPPERS)
def test_copies_and_pickles(name: str) -> None:
    ps = weights()
    opt = wrapped(name, ps)
    run(opt, ps, range(4))
    for other in (copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))):
        theirs = other.param_groups[0]["params"]
        assert theirs[0] is not ps[0]
        start = copy.deepcopy(weights_after(ps))
        mine = copy.deepcopy((opt, ps))
        for a, b in zip(
            run(other, theirs, range(4, 9)), run(mine[0], mine[1], range(4, 9)), strict=True
        ):
            assert_same(a, b, factor=0)
        assert_same(weights_after(ps), start, factor=0)


@pytest.mark.parametrize("name", WRAPPERS)
def test_is_an_optimizer_to_a_scheduler_and_to_itself(name: str) -> None:
    ps = weights()
    opt = wrapped(name, ps)
    schedule = optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    outer = wrapped("Lookahead", ps, opt)
    outer.add_param_group({"params": [torch.nn.Parameter(torch.ones(2).double())], "lr": 0.7})
    assert len(opt.param_groups) == len(opt.optimizer.param_groups) == 2
    feed(ps, 0)
    opt.step()
    schedule.base_lrs.append(0.7)
    schedule.step()
    assert [g["lr"] for g in opt.optimizer.param_groups] == [0.05, 0.35]
    opt.zero_grad()
    assert all(p.grad is None for p in ps)
    assert torch.optim.lr_scheduler.StepLR(outer, 3).optimizer is outer
    state = outer.state_dict()
    outer.load_state_dict(state)
    within = "lookahead 2" if name == "Lookahead" else "lookahead"
    assert {"state", "param_groups", within, opt.SPEC.name} == set(state)
