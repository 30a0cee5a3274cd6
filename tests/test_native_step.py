"""Optimizer steps by the native core beside the loop over tensors: numbers, refusals, safety."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from bpx import native
from bpx.spec import SpecError
from bpx_torch import OPTIMIZERS, _native_step
from bpx_torch.kernels.cpu import _pool
from tests.observed import answers
from tests.torch_optimizers import SPECS, keywords, trials

pytestmark = pytest.mark.skipif(native.available() is not None, reason="no native library")

NAMES = ("sgd", "lion", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax")
SHAPES = ((7, 5), (11,), (), (3, 1, 2), (300, 70))  # the last in more than one chunk
EPS = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What each call of the core answered: None where it stepped."""
    return answers(monkeypatch, _native_step, "run")


def leaves(dtype: torch.dtype, shapes: Any = SHAPES, seed: int = 0) -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(s, generator=draw, dtype=torch.float64).to(dtype))
        for s in shapes
    ]


def give(pairs: Any, seed: int) -> None:
    """The same gradients to both of each pair, some elements 0."""
    draw = torch.Generator().manual_seed(seed)
    for a, b in pairs:
        g = torch.randn(a.shape, generator=draw, dtype=torch.float64)
        g = g * (torch.rand(a.shape, generator=draw) > 0.1)
        a.grad, b.grad = g.to(a.dtype), g.to(b.dtype)


def beside(name: str, dtype: torch.dtype, **options: Any) -> tuple[Any, ...]:
    fused, plain = leaves(dtype), leaves(dtype)
    one = OPTIMIZERS[name](fused, **options)
    return one, OPTIMIZERS[name](plain, foreach=False, **options), [*zip(fused, plain, strict=True)]


def worst(one: Any, other: Any, pairs: Any) -> float:
    """The largest difference of parameters and of states by name, of the largest element that any
    parameter has there: what is close to 0 in one is a difference of others."""
    found: dict[str, list[float]] = {}
    for a, b in pairs:
        assert one.state.get(a, {}).keys() == other.state.get(b, {}).keys()
        arrays = {k: (x, other.state[b][k]) for k, x in one.state.get(a, {}).items()}
        for key, (x, y) in {**arrays, "p": (a.detach(), b.detach())}.items():
            assert (x.dtype, x.shape) == (y.dtype, y.shape)
            wide = x.double(), y.double()
            error, size = found.setdefault(key, [0.0, 1e-30])
            error = max(error, float((wide[0] - wide[1]).abs().max()))
            found[key] = [error, max(size, float(wide[1].abs().max()))]
    return max(error / size for error, size in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_trajectories_of_the_core_and_of_the_loop(name: str, said: list[str | None]) -> None:
    """Every trial, every other one climbing; 12 steps of about ten roundings."""
    for i, options in enumerate([{}, *trials(SPECS[name])]):
        given = keywords(SPECS[name], options)
        one, other, pairs = beside(name, torch.float64, maximize=i % 2 == 1, **given)
        said.clear()
        for t in range(12):
            give(pairs, t)
            one.step()
            other.step()
        first = int(given.get("momentum", 0) != 0 and name == "sgd")  # its buffer starts as g
        assert said[first * (1 + len(said) - 12) :] == [None] * (12 - first)
        assert worst(one, other, pairs) < 12 * 10 * EPS[torch.float64], options


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_step_of_narrower_types(name: str, dtype: torch.dtype, said: Any) -> None:
    """From the same state, mid-run: rounding alone, a difference in float32 of ten of its steps.
    A bfloat16 parameter is rounded once more, to one or the other side of a middle. RMSprop's
    centred variance is a difference, which here loses up to six digits of two."""
    for options in [{}, *trials(SPECS[name])]:
        one, other, pairs = beside(name, dtype, **keywords(SPECS[name], options))
        for t in range(4):
            give(pairs, t)
            one.step()
        for a, b in pairs:
            b.data.copy_(a.data)
        other.load_state_dict(copy.deepcopy(one.state_dict()))  # or it would hold the same tensors
        other.param_groups[0]["foreach"] = False
        give(pairs, 9)
        said.clear()
        one.step()
        other.step()
        assert said == [None]
        bound = 10 * EPS[torch.float32] * (2**6 if options.get("centered") else 1)
        assert worst(one, other, pairs) <= bound + (
            2 * EPS[dtype] if dtype == torch.bfloat16 else 0
        )


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, and chunks in reverse on as many as torch has."""
    results = []
    for threads in (None, 2):
        one, _, pairs = beside(name, torch.float32, lr=0.1)
        host = (None, None) if threads is None else _pool._parallel_for(threads)
        monkeypatch.setattr(_pool, "parallel_for", lambda host=host: host)
        for t in range(3):
            give(pairs, t)
            one.step()
        results.append([a.detach().clone() for a, _ in pairs])
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


def test_nan_and_infinity_stay(said: list[str | None]) -> None:
    for name in NAMES:
        for options in [{}, *trials(SPECS[name])]:
            one, other, pairs = beside(name, torch.float32, **keywords(SPECS[name], options))
            for t in range(3):
                give(pairs, t)
                for a, b in pairs[:2]:
                    for x in (a, b):
                        x.grad.view(-1)[0], x.grad.view(-1)[1] = float("nan"), float("inf")
                one.step()
                other.step()
            for a, b in pairs:
                assert torch.equal(a.isnan(), b.isnan()), (name, options)
                assert torch.equal(a.isinf(), b.isinf()), (name, options)
    assert None in said


def test_what_the_core_refuses_is_stepped_by_the_loop(said: list[str | None]) -> None:
    def turned(p: Any) -> None:
        p.grad = p.grad.t().contiguous().t()

    def subclass(p: Any) -> None:
        p.grad = p.grad.as_subclass(type("Mine", (torch.Tensor,), {}))

    cases: list[tuple[str, torch.dtype, Any, Any]] = [
        ("it takes float32, float64 and bfloat16 on a CPU, not", torch.float16, (4, 3), None),
        ("a parameter or gradient is not contiguous", torch.float32, (4, 3), turned),
        ("a parameter or gradient is of a subclass", torch.float32, (4, 3), subclass),
        ("a parameter has no elements", torch.float32, (0, 3), None),
    ]
    for reason, dtype, shape, change in cases:
        p, q = (leaves(dtype, [shape])[0] for _ in range(2))
        give([(p, q)], 1)
        if change is not None:
            change(p)
        OPTIMIZERS["adamw"]([p], lr=0.1).step()
        OPTIMIZERS["adamw"]([q], lr=0.1, foreach=False).step()
        assert said[-1] is not None
        assert reason in said[-1]
        assert torch.equal(p, q)
        p.grad = leaves(dtype, [shape], 1)[0].detach()
        if change is not None:
            change(p)
        with pytest.raises(SpecError, match="adamw: fused is True, expected None \\("):
            OPTIMIZERS["adamw"]([p], lr=0.1, fused=True).step()


def test_ways_exclude_each_other() -> None:
    p = leaves(torch.float32)
    for other in ("foreach", "differentiable"):
        with pytest.raises(SpecError, match=f"fused is True with {other} True, expected at most"):
            OPTIMIZERS["adam"](p, fused=True, **{other: True})


def test_groups_of_several_dtypes(said: list[str | None]) -> None:
    def mixed() -> list[torch.nn.Parameter]:
        dtypes = (torch.float32, torch.bfloat16, torch.float64, torch.float16, torch.float32)
        return [leaves(dtype, [(5, 2 + i)], i)[0] for i, dtype in enumerate(dtypes)]

    fused, plain = mixed(), mixed()
    pairs = [*zip(fused, plain, strict=True)]
    one = OPTIMIZERS["adamw"](fused, lr=0.1)
    other = OPTIMIZERS["adamw"](plain, lr=0.1, foreach=False)
    for t in range(3):
        give(pairs, t)
        one.step()
        other.step()
    assert said.count(None) == 3 * 3  # float16 is left to the loop
    assert worst(one, other, pairs) < 2 * EPS[torch.bfloat16]


def test_state_and_parameters_replaced_between_steps() -> None:
    """Nothing is remembered of an array that is no longer the one in the state."""
    one, other, pairs = beside("adamw", torch.float32, lr=0.1)

    def both(seed: int) -> None:
        give(pairs, seed)
        one.step()
        other.step()
        assert worst(one, other, pairs) < 40 * EPS[torch.float32]

    both(0)
    for a, b in pairs:  # other memory
        a.data, b.data = a.data.clone(), b.data.clone()
    both(1)
    for optimizer in (one, other):
        optimizer.load_state_dict(optimizer.state_dict())
    both(2)
    for i, optimizer in enumerate((one, other)):
        state = optimizer.state[pairs[0][i]]
        state["exp_avg"] = state["exp_avg"].t().contiguous().t()  # not contiguous
    both(3)
    for i, optimizer in enumerate((one, other)):
        optimizer.state[pairs[1][i]]["exp_avg"].data = torch.full((11,), 0.5)
    both(4)
    for a, b in pairs:
        a.data, b.data = a.data.double(), b.data.double()
    for optimizer in (one, other):
        optimizer.load_state_dict(optimizer.state_dict())
    both(5)


def test_autograd_sees_that_a_step_moved_the_parameter() -> None:
    p = leaves(torch.float32, [(3,)])[0]
    y = (p * p).sum()
    p.grad = torch.ones(3)
    optimizer = OPTIMIZERS["adamw"]([p], lr=0.1)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_flags_are_those_of_the_header() -> None:
    text = (native.FOLDER / "optimizer_steps.h").read_text()
    for name in ("MAXIMIZE", "DECOUPLED", "NESTEROV", "LR_INSIDE", "EPS_INSIDE", "AMSGRAD"):
        assert f"BPX_STEP_{name} = {getattr(_native_step, name)}," in text
    for name in ("CORRECTED", "EPS_HAT", "CENTERED", "MOMENTUM", "EPS_OUTSIDE"):
        assert f"BPX_STEP_{name} = {getattr(_native_step, name)}" in text
    assert f"BPX_STEP_STATES = {_native_step.STATES}," in text
    assert f"BPX_STEP_NUMBERS = {_native_step.NUMBERS}," in text
