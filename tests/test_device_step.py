"""A group's step as one launch for a GPU, here in Triton's interpreter: beside the specification
and the loop over tensors, several blocks to a tensor."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest
import torch

steps = pytest.importorskip("bpx_torch.kernels.triton.steps")

from bpx_torch import OPTIMIZERS, _device_step
from bpx_torch.kernels.triton import _launch
from tests.device_step_runs import BLOCK, EPS, SHAPES, advance, beside
from tests.observed import answers, constants
from tests.test_native_step import give, leaves, worst
from tests.torch_optimizers import SPECS, accepted, keywords, takes_all, trials

NAMES = ("sgd", "lion", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax")
NAMES += ("nadam", "radam", "rprop")
# options of other frameworks, alone
MORE: dict[str, tuple[dict[str, Any], ...]] = {
    "adam": (
        {"lr": 0.1, "eps": 0.1, "amsgrad": True, "max_corrected": True},
        {"lr": 0.1, "eps": 0.1, "amsgrad": True, "max_corrected": True, "eps_hat": True},
        {"lr": 0.1, "eps": 0.1, "eps_hat": True},
    ),
}


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "BLOCK", BLOCK)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What each try answered: None where it stepped."""
    return answers(monkeypatch, _device_step, "run")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The constants of each launch."""
    return constants(monkeypatch, _launch, "run")


@pytest.mark.parametrize("name", NAMES)
def test_trajectories_of_the_kernel_and_of_the_specification(name: str, said: Any) -> None:
    """Every trial, every other one climbing; some steps of about ten roundings."""
    spec, draw = SPECS[name], np.random.default_rng(5)
    known = inspect.signature(inspect.unwrap(OPTIMIZERS[name].__init__)).parameters
    last = 8 if name == "radam" else 4  # its first five or six are momentum alone
    given_trials = [t for t in spec.trials if takes_all(spec, t)]
    for i, options in enumerate([{}, *given_trials, *MORE.get(name, ())]):
        full = {**spec.options, **options}
        climbs = i % 2 == 1 and "maximize" in known
        given = {k: v for k, v in full.items() if k in known}
        params = leaves(torch.float64, SHAPES)
        optimizer = OPTIMIZERS[name](params, maximize=climbs, **given)
        expected = [p.detach().numpy().copy() for p in params]
        states = [spec.init(p, **full) for p in expected]
        said.clear()
        for t in range(1, last + 1):
            for k, p in enumerate(params):
                g = np.where(draw.random(p.shape) > 0.1, draw.standard_normal(p.shape), 0.0)
                p.grad = torch.from_numpy(np.asarray(g))
                g = -g if climbs else g
                expected[k], states[k] = spec.step(expected[k], g, states[k], t, **full)
            advance(optimizer)
        # SGD's buffer starts as g, by the loop
        assert said[-3:] == [None] * 3, options
        found = np.concatenate([p.detach().numpy().ravel() for p in params])
        wanted = np.concatenate([p.ravel() for p in expected])
        # a variance that is a difference loses two digits here
        bound = last * 10 * EPS[torch.float64] * (2**6 if options.get("centered") else 1)
        assert np.abs(found - wanted).max() < bound * np.abs(wanted).max(), options
        for key, theirs in optimizer.STATE.items():
            for p, state in zip(params, states, strict=True):
                if theirs in optimizer.state.get(p, {}):
                    a, b = optimizer.state[p][theirs].numpy(), state[key]
                    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13, err_msg=str(options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_narrower_types(name: str, dtype: torch.dtype, said: Any) -> None:
    """From the same state, mid-run: rounding alone. A 16-bit parameter is rounded once more, to one
    or the other side of a middle."""
    for options in trials(SPECS[name])[:2]:
        one, other, pairs = beside(name, dtype, **(keywords(SPECS[name], options) or {}))
        for t in range(3):  # by the loop
            give(pairs, t)
            one.step()
        for a, b in pairs:
            b.data.copy_(a.data)
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        other.param_groups[0]["foreach"] = False
        give(pairs, 9)
        said.clear()
        advance(one)
        other.step()
        assert said == [None]
        bound = 10 * EPS[torch.float32] * (2**6 if options.get("centered") else 1)
        assert worst(one, other, pairs) <= bound + (0 if dtype == torch.float32 else 2 * EPS[dtype])


def test_nan_and_infinity_stay(said: Any) -> None:
    for name in NAMES:
        for options in trials(SPECS[name])[:2]:
            given = keywords(SPECS[name], options) or {}
            one, other, pairs = beside(name, torch.float32, **given)
            for t in range(2):
                give(pairs, t)
                for a, b in pairs[2:]:
                    for x in (a, b):
                        x.grad.view(-1)[0], x.grad.view(-1)[1] = float("nan"), float("inf")
                advance(one)
                other.step()
            for a, b in pairs:
                state = other.state.get(b, {})
                held = [(one.state[a][key], x) for key, x in state.items()]
                for x, y in [(a, b), *held]:
                    assert torch.equal(x.isnan(), y.isnan()), (name, options)
                    assert torch.equal(x.isinf(), y.isinf()), (name, options)
    assert None in said


@pytest.mark.parametrize("name", ["adamw", "adam", "nadam", "radam", "adagrad", "adamax", "sgd"])
def test_counts_that_differ_groups_and_checkpoints(name: str, said: Any, launched: Any) -> None:
    """A parameter without gradient is left out and counts less from then on; two groups, one of
    them at another rate from the middle on; a state_dict loaded into new optimizers."""

    def make(foreach: bool | None) -> tuple[Any, Any]:
        params = leaves(torch.float64, SHAPES)
        groups = [{"params": params[:4]}, {"params": params[4:], "lr": 0.3}]
        options = {"lr": 0.1, "weight_decay": 0.2, "momentum": 0.8, "momentum_decay": 2.0}
        options |= {"amsgrad": name == "adam", "lr_decay": 0.5, "foreach": foreach}
        return params, OPTIMIZERS[name](groups, **accepted(name, options))

    (fused, one), (plain, other) = make(None), make(False)
    pairs = [*zip(fused, plain, strict=True)]
    for t in range(6):
        if t == 3:
            again = []
            for params, optimizer, foreach in ((fused, one, None), (plain, other, False)):
                _, new = make(foreach)
                for group, old in zip(new.param_groups, optimizer.param_groups, strict=True):
                    group["params"] = old["params"]
                new.load_state_dict(copy.deepcopy(optimizer.state_dict()))
                assert params[0] in new.state
                again.append(new)
            one, other = again
            for optimizer in again:
                optimizer.param_groups[0]["lr"] = 0.05
        give(pairs, t)
        if t in (1, 4):
            for a, b in pairs[t::2]:
                a.grad = b.grad = None
        advance(one)
        other.step()
        assert worst(one, other, pairs) < 6 * 10 * EPS[torch.float64]
    counted = name != "sgd"
    assert said.count(None) == len(launched)
    assert len(launched) >= (12 if counted else 9)
    assert any(c["VARIES"] for c in launched) == counted


def test_what_had_no_gradient_stays_without_eps(said: Any) -> None:
    one, other, pairs = beside("adagrad", torch.float64, eps=0.0, eps_in_sqrt=True, lr=0.1)
    for a, b in pairs:
        a.grad, b.grad = torch.zeros_like(a), torch.zeros_like(b)
    give(pairs[:3], 1)
    advance(one)
    other.step()
    assert said == [None]
    assert worst(one, other, pairs) < 10 * EPS[torch.float64]
    assert all(bool(a.isfinite().all()) for a, _ in pairs)
