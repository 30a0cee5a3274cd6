"""Recorded calls that are looked up without Python: what finds them, and what goes past them."""

import warnings
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import torch.autograd.forward_ad as fwd
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import bpx_torch
from bpx import rule as rules
from bpx.verify import reference
from bpx_torch import _fast, _node
from bpx_torch.verify import RUNNER
from tests.recorded_rules import NOT_RECORDED, RULES, exactly

pytestmark = pytest.mark.skipif(_node.build() is not None, reason=str(_node.available()))


@pytest.mark.parametrize("name", RULES)
def test_the_bits_of_the_function(name, monkeypatch):
    """Of other numbers than were recorded."""
    rule, runner, found = RULES[name], RUNNER("cpu"), 0
    for case in reference.cases(rule.spec):
        options = dict(case.options)
        arrays = tuple(
            None if a is None else a.contiguous()
            for a in runner.arrays(case, "float32", grad=False)
        )
        plan = rule.fast.plan(options, arrays)
        if plan is None:
            continue
        rule(*arrays, **options)
        if plan.node is None:
            continue
        first = next(i for i, a in enumerate(arrays) if a is not None and a.is_floating_point())
        own = [
            a if a is None else a.clone().requires_grad_(i == first) for i, a in enumerate(arrays)
        ]
        rule(*own, **options)  # whose needs are recorded
        if plan.node(*own) is None:  # their gradients are not recorded
            assert rule.fast.known(tuple(own), options) is None
            continue
        want = rule.fast.call(replace(plan, node=None, calls=_fast.NEVER), own)
        with monkeypatch.context() as alone:
            alone.setattr(rule.fast, "plan", lambda *_: pytest.fail("looked up in Python"))
            y = rule(*own, **options)
        exactly(y, want)
        dy = torch.linspace(-1, 2, y.numel()).reshape(y.shape)
        exactly(*(torch.autograd.grad(z, own[first], dy)[0] for z in (y, want)))
        found += 1
    assert (found == 0) == (name in NOT_RECORDED)


RULE = bpx_torch.RULES["threshold"]
OPTIONS = {"threshold": 0.25, "value": 0.0}


@pytest.fixture
def known(monkeypatch):
    """known(arrays, options) of one recorded call."""
    monkeypatch.setattr(RULE, "fast", _fast.Fast(RULE))
    x = torch.randn(5, 7, requires_grad=True)
    for _ in range(_fast.RECORDED + 1):
        RULE(x, **OPTIONS).sum().backward()
    known = RULE.fast.known
    assert known((x,), OPTIONS) is not None
    assert known((x.detach(),), dict(OPTIONS)) is not None
    assert known((torch.nn.Parameter(x),), OPTIONS) is not None
    return known


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 0.25, "value": -0.0},
        {"threshold": 0.25, "value": 0},
        {"threshold": 0.25, "value": False},
        {"threshold": 0.125, "value": 0.0},
        {"value": 0.0, "threshold": 0.25},
        {"threshold": 0.25},
        {"threshold": 0.25, "value": 0.0, "more": 1},
        {"threshold": 0.25, "other": 0.0},
        {"threshold": 0.25, "value": torch.zeros(())},
        {},
    ],
    ids=str,
)
def test_other_options(known, options):
    assert known((torch.randn(5, 7),), options) is None


class Own(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "arrays",
    [
        (torch.randn(7, 5),),
        (torch.randn(5, 7, 1),),
        (torch.randn(5, 7).double(),),
        (torch.randn(5, 7).bfloat16(),),
        (torch.randn(7, 5).T,),
        (torch.randn(5, 14)[:, ::2],),
        (torch.randn(5, 7, dtype=torch.complex64).conj().imag,),
        (torch.randn(5, 7).as_subclass(Own),),
        (torch.randn(5, 7, device="meta"),),
        (torch.randn(5, 7).to_sparse(),),
        (torch.randn(5, 7).numpy(),),
        (torch.randn(5, 7), None),
        (torch.randn(5, 7), torch.randn(5, 7)),
        (None,),
        (),
    ],
)
def test_other_arrays(known, arrays):
    assert known(arrays, OPTIONS) is None


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "around",
    [
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: rules.use("plain"),
        lambda: rules.use("cpu"),
        lambda: rules.use(None, interpret=True),
        Watching,
    ],
)
def test_what_looks_at_operations(known, around):
    x = torch.randn(5, 7)
    with around():
        assert known((x,), OPTIONS) is None
    assert known((x,), OPTIONS) is not None


def test_transforms(known):
    asked = []

    def f(x):
        asked.append(known((x,), OPTIONS))
        asked.append(known((torch.ones(5, 7),), OPTIONS))
        return x.sin()

    x = torch.randn(5, 7)
    torch.func.vmap(f)(x.expand(3, 5, 7))
    torch.func.jacrev(f)(x)
    torch.func.jvp(f, (x,), (x,))
    torch.func.functionalize(f)(x)
    make_fx(f)(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.trace")
        torch.jit.trace(f, x, check_trace=False)
    assert asked == [None] * 12
    with fwd.dual_level():
        assert known((fwd.make_dual(x, x),), OPTIONS) is None


def test_regions_without_a_graph(known):
    x = torch.randn(5, 7, requires_grad=True)
    want = torch.where(x > 0.25, x, 0).detach()
    for region in (torch.no_grad, torch.inference_mode):
        with region():
            y = known((x,), OPTIONS)
        assert y.grad_fn is None
        assert not y.requires_grad
        assert y.is_inference() == (region is torch.inference_mode)
        exactly(y, want)


def test_forgotten_with_the_plans(known, monkeypatch):
    monkeypatch.setattr(_fast, "REMEMBERED", 0)
    RULE(torch.randn(2, 7), **OPTIONS)
    assert RULE.fast.known is None or RULE.fast.known((torch.randn(5, 7),), OPTIONS) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda known: known(),
        lambda known: known([], {}),
        lambda known: known((), []),
        lambda known: known((), {}, ()),
        lambda known: known.add((), {}),
        lambda known: known.add([], {}, None),
        lambda known: known.add((1,), {}, None),
        lambda known: type(known)(),
        lambda known: type(known)(1, 2),
    ],
)
def test_it_takes_nothing_else(known, call):
    with pytest.raises(TypeError):
        call(known)
