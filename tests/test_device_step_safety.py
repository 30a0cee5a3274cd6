"""A group's step as one launch for a GPU, in Triton's interpreter: what is kept between
steps, what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

steps = pytest.importorskip("bpx_torch.kernels.triton.steps")

from bpx import native
from bpx.spec import SpecError
from bpx_torch import OPTIMIZERS, _device_step
from bpx_torch.kernels.triton import _launch
from tests.device_step_runs import BLOCK, EPS, advance, beside
from tests.observed import answers, constants
from tests.test_native_step import give, leaves, worst


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


def test_what_is_sent_and_how_it_is_read(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, pairs = beside("adamw", torch.float32, lr=0.1)
    give(pairs, 0)
    advance(one)
    other.step()
    (held,) = one._held.values()
    sent, chunks = held.sent, held.chunks
    advance(one)  # the same addresses
    other.step()
    assert held.sent is sent
    give(pairs, 1)
    kept = pairs[0][0].grad  # so that the new gradient has another address
    pairs[0][0].grad = kept.clone()
    advance(one)
    other.step()
    assert (held.sent is sent, held.chunks is chunks) == (False, True)
    flat = torch.zeros(64)
    flat[1:] = pairs[2][0].grad
    pairs[2][0].grad = flat[1:]  # off the 16 bytes
    assert flat.data_ptr() % 16 == 0
    advance(one)
    other.step()
    assert [c["ALIGNED"] for c in launched] == [True, True, True, False]
    assert worst(one, other, pairs) < 40 * EPS[torch.float32]


def test_state_and_parameters_replaced_between_steps(said: Any) -> None:
    """Nothing is remembered of an array that is no longer the one in the state."""
    one, other, pairs = beside("adamw", torch.float32, lr=0.1)

    def both(seed: int) -> None:
        give(pairs, seed)
        advance(one)
        other.step()
        assert worst(one, other, pairs) < 40 * EPS[torch.float32]

    both(0)
    for a, b in pairs:  # other memory
        a.data, b.data = a.data.clone(), b.data.clone()
    both(1)
    for i, optimizer in enumerate((one, other)):
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.state[pairs[2][i]]["exp_avg"].data = torch.full((63,), 0.5)
        optimizer.state[pairs[3][i]]["step"] = torch.tensor(7.0)
    both(2)
    for a, b in pairs:
        a.data, b.data = a.data.double(), b.data.double()
    for optimizer in (one, other):
        optimizer.load_state_dict(optimizer.state_dict())
    both(3)
    assert said == [None] * 4
    a, b = pairs[2]  # another size at the same address
    a.data, b.data = a.data[:5], b.data[:5]
    give(pairs, 4)
    with pytest.raises(RuntimeError, match="size"):
        advance(one)
    assert said[4:] == ["a gradient has another size than its parameter"] * 2


def test_another_order_of_elements_and_dtypes(said: Any) -> None:
    """Channels last is stepped as it lies; a group of several dtypes is a launch for each."""
    fused, plain = ([*leaves(torch.float32, [(2, 3, 4, 5)]), *leaves(torch.float16)] for _ in "ab")
    for p in (fused[0], plain[0]):
        p.data = p.data.to(memory_format=torch.channels_last)
    pairs = [*zip(fused, plain, strict=True)]
    one = OPTIMIZERS["adamw"](fused, lr=0.1)
    other = OPTIMIZERS["adamw"](plain, lr=0.1, foreach=False)
    for t in range(2):
        give(pairs, t)
        for p in (fused[0], plain[0]):
            p.grad = p.grad.to(memory_format=torch.channels_last)
        advance(one)
        other.step()
    assert said.count(None) == 4
    assert worst(one, other, pairs[:1]) < 40 * EPS[torch.float32]
    assert worst(one, other, pairs[1:]) < 2 * EPS[torch.float16]


def test_autograd_sees_that_a_step_moved_the_parameter() -> None:
    p = leaves(torch.float32, [(3,)])[0]
    y = (p * p).sum()
    p.grad = torch.ones(3)
    advance(OPTIMIZERS["adamw"]([p], lr=0.1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_what_is_refused_is_stepped_by_the_loop(said: Any) -> None:
    def turned(p: Any) -> None:
        p.grad = p.grad.t().contiguous().t()

    def gaps(p: Any) -> None:
        p.data = torch.zeros(8, 6)[::2, ::2]
        p.grad = torch.ones(8, 6)[::2, ::2]

    def negated(p: Any) -> None:
        p.grad = torch._neg_view(p.grad)

    def no_memory(p: Any) -> None:
        p.grad = torch._efficientzerotensor(p.shape)

    def subclass(p: Any) -> None:
        p.grad = p.grad.as_subclass(type("Mine", (torch.Tensor,), {}))

    cases: list[tuple[str, Any, Any]] = [
        ("a parameter or gradient is not contiguous", (4, 3), turned),
        ("a parameter or gradient is not contiguous", (4, 3), negated),
        ("a parameter has gaps", (4, 3), gaps),
        ("a gradient has no memory", (4, 3), no_memory),
        ("a parameter or gradient is of a subclass", (4, 3), subclass),
        ("a parameter has no elements", (0, 3), None),
    ]
    for reason, shape, change in cases:
        p, q = (leaves(torch.float32, [shape])[0] for _ in range(2))
        give([(p, q)], 1)
        if change is not None:
            change(p)
            q.data.copy_(p.data)
            q.grad.copy_(p.grad)
        advance(OPTIMIZERS["adamw"]([p], lr=0.1))
        OPTIMIZERS["adamw"]([q], lr=0.1, foreach=False).step()
        assert said[-1] is not None
        assert reason in said[-1]
        assert torch.equal(p, q)
        with pytest.raises(SpecError, match="adamw: fused is True, expected None \\("):
            advance(OPTIMIZERS["adamw"]([p], lr=0.1, fused=True))


def test_other_ways_are_left_alone(said: Any) -> None:
    p = leaves(torch.float32, [(3,)])
    p[0].grad = torch.ones(3)
    for options in (
        {"foreach": False},
        {"foreach": True},
        {"fused": False},
        {"capturable": True},
        {"lr": torch.tensor(0.1), "foreach": False},
    ):
        advance(OPTIMIZERS["adamw"](p, **options))
    assert said == []


def test_a_graph_that_is_captured_keeps_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    p = SimpleNamespace(dtype=torch.float32, is_cuda=True)
    monkeypatch.setattr(_launch, "refuses", lambda arrays: None)
    for capturing in (False, True):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda now=capturing: now)
        assert (steps.refuses(p) is not None) == capturing
    assert "float8" in steps.refuses(SimpleNamespace(dtype=torch.float8_e5m2, is_cuda=True))


def test_counts_and_products_on_a_device_are_left_to_the_lists(said: Any) -> None:
    """As a capturable run's checkpoint has them, here on the device without memory."""
    p = leaves(torch.float32, [(3,)])
    p[0].grad = torch.ones(3)
    for key, reason in (("step", "a step count is not"), ("mu_product", "mu_product is not on")):
        optimizer = OPTIMIZERS["nadam"](p)
        advance(optimizer)
        optimizer.state[p[0]][key] = torch.ones((), device="meta")
        with pytest.raises((RuntimeError, NotImplementedError)):
            advance(optimizer)
        assert reason in str(said[-1])


def test_a_first_buffer_is_the_loops_whatever_is_fused(said: Any) -> None:
    on_the_cpu = [lambda optimizer: optimizer.step()] * (native.available() is None)
    for step in (*on_the_cpu, advance):
        one, other, pairs = beside("sgd", torch.float64, momentum=0.9, dampening=0.5)
        one.param_groups[0]["fused"] = True
        for t in range(3):
            give(pairs, t)
            step(one)
            other.step()
        assert worst(one, other, pairs) < 30 * EPS[torch.float64]
    assert said[-2:] == [None, None]
