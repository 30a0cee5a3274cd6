"""16-bit parameters: float32 states and arithmetic, one rounding where a parameter is written."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx.optimizers import ALL
from bpx.spec import Optimizer
from bpx_torch.optimizers import OPTIMIZERS
from tests import trajectories as tj
from tests.torch_optimizers import SPECS, accepted, advance, keywords, loud, matrices, own, trials

pytestmark = pytest.mark.slow

each_spec = pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
each = pytest.mark.parametrize("name", OPTIMIZERS)
EPS, EPS16 = float(np.finfo(np.float32).eps), float(torch.finfo(torch.bfloat16).eps)
# A step rounds a moment at most a dozen times by half an eps, and decay at most carries that on.
LIMIT = tj.STEPS * 12 / 2 * EPS


@pytest.fixture(autouse=True)
def exact_iteration(monkeypatch: Any) -> None:
    monkeypatch.setattr(OPTIMIZERS["muon"], "ns_dtype", None)


def states_of(optimizer: Any, params: list[Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in optimizer.state[p].items() if k != "step"} for p in params]


def bfloat16_run(spec: Optimizer, foreach: bool, narrow: bool = False) -> tuple[float, float]:
    """The largest error of a state and of a parameter over that of one rounding, both in units of
    what is allowed, where the specification starts every step from the parameters that are there.
    `narrow` rounds the states to bfloat16 after each step, which is what this is to find."""
    trial = next(
        t
        for t in trials(spec)
        if not t.get("centered") and tj.complete(spec, t).get("eps") != (None, 1e-3)
    )
    params = [torch.nn.Parameter(torch.tensor(p).bfloat16()) for p in tj.parameters(spec)]
    kw = accepted(spec.name, {**keywords(spec, trial), "foreach": foreach})
    optimizer = OPTIMIZERS[spec.name](params, **kw)
    names = OPTIMIZERS[spec.name].STATE
    start = [p.detach().double().numpy() for p in params]
    stepper = tj.spec_stepper(spec, [tj.complete(spec, trial)] * len(params), start)
    sizes: dict[Any, Any] = {}
    worst = [0.0, 0.0]
    for gs in tj.gradients(spec, absent=True):
        rounded = [None if g is None else torch.tensor(g).bfloat16() for g in gs]
        before = [p.detach().double().numpy() for p in params]
        for p, g in zip(params, rounded, strict=True):
            p.grad = g
        optimizer.step()
        exact = [None if g is None else g.double().numpy() for g in rounded]
        held, wanted = stepper(exact)
        for i, (p, state) in enumerate(zip(params, wanted, strict=True)):
            found = optimizer.state[p] if p in optimizer.state else {}
            for name, key in names.items() if state else ():
                # the roots of Shampoo have the condition of a matrix, which hides the dtype
                if key not in found or name.startswith("root") or not p.numel():
                    continue
                if key != "mu_product":
                    assert found[key].dtype == torch.float32, key
                got, want = found[key].double().numpy(), state[name]
                size = sizes[i, name] = np.maximum(np.abs(want), sizes.get((i, name), 0.0))
                size = size.max() if spec.name in tj.WHOLE else size
                error = np.abs(got - want) / np.where(size > 0, size, 1.0)
                worst[0] = max(worst[0], float(error.max()) / LIMIT)
            if exact[i] is None or not p.numel():
                continue
            moved = np.abs(held[i] - before[i])
            moved = sizes[i, "moved"] = np.maximum(moved, sizes.get((i, "moved"), 0.0))
            moved = moved.max() if spec.name in tj.WHOLE else moved
            written = np.abs(held[i])
            if "x" in state:  # Schedule-Free moves x, which no write rounds: p is off by all writes
                written = sizes[i, "p"] = np.maximum(written, sizes.get((i, "p"), 0.0))
                written = written * tj.STEPS
            allowed = EPS16 / 2 * written
            allowed = allowed + LIMIT * tj.CONDITION.get(spec.name, 1.0) * moved + 1e-40
            got = p.detach().double().numpy()
            worst[1] = max(worst[1], float((np.abs(got - held[i]) / allowed).max()))
        held[:] = [p.detach().double().numpy() for p in params]
        for state in states_of(optimizer, params) if narrow else ():
            for value in state.values():
                value.copy_(value.bfloat16())
    return worst[0], worst[1]


@each_spec
def test_bfloat16_parameters_have_the_states_of_the_specification(spec: Optimizer) -> None:
    for foreach in (False, True):
        state, parameter = bfloat16_run(spec, foreach)
        assert state <= 1, f"foreach={foreach}"
        assert parameter <= 1.01, f"foreach={foreach}"  # float32 before the one rounding
    stalled, _ = bfloat16_run(spec, False, narrow=True)
    assert stalled > 10, "states in bfloat16 are not told from states in float32"


@each
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_is_that_of_a_float32_twin_rounded_once(name: str, dtype: Any) -> None:
    options = loud(SPECS[name])
    if "eps" in options and options["eps"] == (None, 1e-3):
        options["eps"] = (float(torch.finfo(dtype).eps), 1e-3)
    variants: list[dict[str, Any]] = [accepted(name, {"foreach": x}) for x in (False, True)]
    # by loops: the native step fuses products and sums, each type in its own way
    loops = accepted(name, {"foreach": False})
    variants += [
        loops | accepted(name, {k: True})
        for k in ("maximize", "capturable", "differentiable")
        if accepted(name, {k: True})
    ]
    for extra in variants:
        half = matrices(dtype)
        twin = [torch.nn.Parameter(p.detach().float()) for p in half]
        pair = [OPTIMIZERS[name](x, **options, **extra) for x in (half, twin)]
        generator = torch.Generator().manual_seed(5)
        for _ in range(4):
            for p, w in zip(half, twin, strict=True):
                p.requires_grad_(not extra.get("differentiable"))
                w.requires_grad_(not extra.get("differentiable"))
                p.grad = torch.randn(p.shape, generator=generator).to(dtype)
                w.grad = p.grad.float()
            before = [p.grad.clone() for p in half]
            for optimizer in pair:
                optimizer.step(lambda: torch.zeros(()))
            for p, w, g in zip(half, twin, before, strict=True):
                assert torch.equal(p.detach(), w.detach().to(dtype)), extra
                assert torch.equal(p.grad, g)
                assert p.grad.dtype == dtype
                with torch.no_grad():
                    w.copy_(p)
        for a, b in zip(states_of(pair[0], half), states_of(pair[1], twin), strict=True):
            assert a.keys() == b.keys()
            for key in a:
                assert a[key].dtype == torch.float32
                assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if own(n) is not None])
def test_a_bfloat16_checkpoint_goes_both_ways_in_mid_run(name: str) -> None:
    """torch rounds the states it loads to the parameter's dtype; loading its own widens them."""
    params = matrices(torch.bfloat16)
    ours = OPTIMIZERS[name](params, **loud(SPECS[name]))
    advance(ours, 5, 1)
    theirs = own(name)(params, **loud(SPECS[name]))
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for mine, other in zip(states_of(ours, params), states_of(theirs, params), strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[k].to(other[k].dtype), other[k]) for k in mine)
    advance(theirs, 3, 2)
    back = OPTIMIZERS[name](params)
    back.load_state_dict(copy.deepcopy(theirs.state_dict()))
    twin = [torch.nn.Parameter(p.detach().float()) for p in params]
    wide = OPTIMIZERS[name](twin, **loud(SPECS[name]))
    wide.load_state_dict(copy.deepcopy(back.state_dict()))
    for mine, other in zip(states_of(back, params), states_of(theirs, params), strict=True):
        assert all(v.dtype == torch.float32 for v in mine.values())
        assert all(torch.equal(mine[k], other[k].float()) for k in mine)
    for optimizer, held in ((back, params), (wide, twin)):
        for i, p in enumerate(held):
            p.grad = (torch.arange(p.numel()).reshape(p.shape) / 8 - i).to(p.dtype)
        if name == "adafactor" and optimizer is wide:
            optimizer.param_groups[0]["eps"] = (EPS16, optimizer.param_groups[0]["eps"][1])
        optimizer.step()
    assert all(torch.equal(p, w.bfloat16()) for p, w in zip(params, twin, strict=True))


def test_the_step_compiled_has_float32_states() -> None:
    ends = []
    for compiled in (False, True):
        params = matrices(torch.bfloat16)
        optimizer = OPTIMIZERS["adamw"](params, lr=0.1)
        for i, p in enumerate(params):
            p.grad = (torch.arange(p.numel()).reshape(p.shape) / 8 - i).to(p.dtype)
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        step()
        step()
        assert all(
            v.dtype == torch.float32 for s in states_of(optimizer, params) for v in s.values()
        )
        ends.append(params)
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, rtol=EPS16, atol=0)
