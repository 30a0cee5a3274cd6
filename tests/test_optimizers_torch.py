"""bpx_torch's optimizers against the specification and torch.optim, step by step; errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx.optimizers import ALL
from bpx.spec import Optimizer, SpecError
from bpx_torch.optimizers import OPTIMIZERS
from tests import trajectories as tj
from tests.torch_optimizers import (
    CASES,
    COARSE,
    accepted,
    float64_scalars,
    keywords,
    leaves,
    loud,
    own,
    takes,
    trials,
)

each_case = pytest.mark.parametrize(("spec", "trial"), CASES, ids=tj.label)
each_spec = pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)


@pytest.fixture(autouse=True)
def exact_iteration(monkeypatch: Any) -> None:
    monkeypatch.setattr(OPTIMIZERS["muon"], "ns_dtype", None)


def set_gradients(params: list[Any], gs: list[Any]) -> None:
    for p, g in zip(params, gs, strict=True):
        p.grad = None if g is None else torch.tensor(g, dtype=p.dtype)


def stepper(optimizer: Any, params: list[Any], states: dict[str, str], step: Any = None) -> Any:
    """Steps a torch optimizer; its state is shown under the entry's names."""

    def run(gs: list[Any]) -> Any:
        set_gradients(params, gs)
        (step or optimizer.step)()
        for p, g in zip(params, gs, strict=True):
            assert (p.grad is None) if g is None else np.array_equal(p.grad.double().numpy(), g)
        shown = []
        for p in params:
            s = optimizer.state.get(p, {})
            assert set(s) <= {*states.values(), "step"}
            for key, value in s.items():
                if key == "step":
                    assert value.dtype == torch.get_default_dtype()
                elif value.ndim:
                    assert value.dtype == p.dtype
                if "square" in key or "sq" in key:
                    assert value.stride() == p.stride()
            row = {name: s[key].numpy() for name, key in states.items() if key in s}
            shown.append(row | ({"t": s["step"].numpy()} if "step" in s else {}))
        return [p.detach().numpy() for p in params], shown

    return run


def optimizer_of(spec: Optimizer, theirs: bool = False) -> Any:
    return own(spec.name) if theirs else OPTIMIZERS[spec.name]


def path(spec: Optimizer, theirs: bool = False, steps: int = tj.STEPS, **kw: Any) -> tj.Path:
    params = leaves(spec)
    with float64_scalars():
        optimizer = optimizer_of(spec, theirs)(params, **accepted(spec.name, kw))
        run = stepper(optimizer, params, OPTIMIZERS[spec.name].STATE)
        return tj.trajectory(run, tj.gradients(spec, absent=True, steps=steps))


def spec_path(
    spec: Optimizer, *options: dict[str, Any], steps: int = tj.STEPS, maximize: bool = False
) -> tj.Path:
    full, start = [tj.complete(spec, o) for o in options], tj.parameters(spec)
    full = full * len(start) if len(full) == 1 else full
    run = tj.spec_stepper(spec, full, start, maximize)
    return seen(spec, tj.trajectory(run, tj.gradients(spec, absent=True, steps=steps)))


def seen(spec: Optimizer, path: tj.Path) -> tj.Path:
    """What the class keeps of the entry's state for a parameter."""
    kept = {"t", *OPTIMIZERS[spec.name].STATE}
    return [(p, [{k: s[k] for k in s if k in kept} for s in rows]) for p, rows in path]


@each_case
def test_trajectory(spec: Optimizer, trial: dict[str, Any], monkeypatch: Any) -> None:
    want, exact = spec_path(spec, trial), tj.measure(spec)
    kw = keywords(spec, trial)
    if spec.name in COARSE:
        with monkeypatch.context() as coarse:
            coarse.setattr(OPTIMIZERS[spec.name], "ns_dtype", torch.bfloat16)
            tj.assert_same(path(spec, **kw), path(spec, True, **kw), "bfloat16", **exact)
    elif own(spec.name) is not None:
        tj.assert_same(path(spec, True, **kw), want, "torch.optim, not the specification", **exact)
    for foreach in (False, True):
        tj.assert_same(path(spec, foreach=foreach, **kw), want, f"foreach={foreach}", **exact)


@pytest.mark.parametrize("spec", [s for s in ALL if takes(s.name, "maximize")], ids=tj.label)
def test_maximize(spec: Optimizer) -> None:
    kw = loud(spec)
    want = spec_path(spec, kw, steps=tj.SHORT, maximize=True)
    for theirs, foreach in ((True, None), (False, False), (False, True)):
        if theirs and own(spec.name) is None:
            continue
        got = path(spec, theirs, tj.SHORT, maximize=True, foreach=foreach, **kw)
        tj.assert_same(got, want, f"theirs={theirs}, foreach={foreach}", **tj.measure(spec))


@each_spec
@pytest.mark.parametrize("foreach", [False, True])
def test_two_groups_with_different_options(spec: Optimizer, foreach: bool) -> None:
    one, two = (keywords(spec, t) for t in trials(spec)[:2])
    params = leaves(spec)
    want = spec_path(spec, *[one] * 2, *[two] * (len(params) - 2), steps=tj.SHORT)
    groups = [{"params": params[:2], **one}, {"params": params[2:], **two}]
    optimizer = OPTIMIZERS[spec.name](groups, **accepted(spec.name, {"foreach": foreach}))
    run = stepper(optimizer, params, OPTIMIZERS[spec.name].STATE)
    got = tj.trajectory(run, tj.gradients(spec, absent=True, steps=tj.SHORT))
    tj.assert_same(got, want, "two groups", **tj.measure(spec))


@each_spec
def test_capturable_and_tensor_options(spec: Optimizer) -> None:
    kw = loud(spec)
    want = spec_path(spec, kw, steps=tj.SHORT)
    variants: list[dict[str, Any]] = [{"lr": torch.tensor(kw["lr"], dtype=torch.float64)}]
    if takes(spec.name, "capturable"):
        variants.append({"capturable": True})
    if "betas" in kw:
        betas = tuple(torch.tensor(b, dtype=torch.float64) for b in kw["betas"])
        variants.append({"betas": betas, **variants[-1]})
    for extra in variants:
        got = path(spec, steps=tj.SHORT, **{**kw, **extra})
        tj.assert_same(got, want, f"{list(extra)}", **tj.measure(spec))


# The difference of two means cancels in `centered`, and no bound of this form holds; an eps of None
# is another number in another dtype.
@pytest.mark.parametrize(
    ("spec", "trial"),
    [
        (s, t)
        for s, t in CASES
        if not t.get("centered") and (None, 1e-3) != tj.complete(s, t).get("eps")
    ],
    ids=tj.label,
)
def test_float32(spec: Optimizer, trial: dict[str, Any]) -> None:
    """As near the float64 specification as rounding allows."""
    grads = [
        [None if g is None else np.float32(g) for g in gs]
        for gs in tj.gradients(spec, absent=True, steps=tj.SHORT)
    ]
    start = [np.float64(np.float32(p)) for p in tj.parameters(spec)]
    full = [tj.complete(spec, trial)] * len(start)
    wide = [[None if g is None else np.float64(g) for g in gs] for gs in grads]
    want = seen(spec, tj.trajectory(tj.spec_stepper(spec, full, start), wide))
    whole = spec.name in tj.WHOLE
    for foreach in (False, True):
        params = leaves(spec, torch.float32)
        kw = accepted(spec.name, {**keywords(spec, trial), "foreach": foreach})
        optimizer = OPTIMIZERS[spec.name](params, **kw)
        got = tj.trajectory(stepper(optimizer, params, OPTIMIZERS[spec.name].STATE), grads)
        # every step adds at most a dozen roundings of half an eps, each at most the size of p or of
        # a step, and momentum at most carries them on: 20 * 12 / 2 = 120, in units of eps
        limit = 120 * np.finfo(np.float32).eps * tj.CONDITION.get(spec.name, 1.0)
        tj.assert_same(got, want, f"foreach={foreach}", limit, whole)


@each_spec
def test_signature_is_torchs(spec: Optimizer) -> None:
    if own(spec.name) is None:
        return
    ours = inspect.signature(optimizer_of(spec)).parameters.values()
    theirs = inspect.signature(optimizer_of(spec, True)).parameters.values()
    plain = [[(p.name, p.kind, p.default) for p in side] for side in (ours, theirs)]
    assert plain[0] == plain[1]
    p = torch.nn.Parameter(torch.ones(2, 2))
    groups = [optimizer_of(spec, theirs)([p]).param_groups[0] for theirs in (False, True)]
    assert list(groups[0]) == list(groups[1])
    assert [(k, v) for k, v in groups[0].items() if k != "params"] == [
        (k, v) for k, v in groups[1].items() if k != "params"
    ]


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects if keywords(s, r.options) is not None],
    ids=lambda x: getattr(x, "name", None) or x.message[:60],
)
def test_rejects(spec: Optimizer, reject: Any) -> None:
    cls, p = OPTIMIZERS[spec.name], torch.nn.Parameter(torch.ones(2, 2))
    with pytest.raises(SpecError) as caught:
        cls([p], **reject.options)
    assert reject.message in str(caught.value)
    optimizer = cls([p])
    with pytest.raises(SpecError) as caught:
        optimizer.add_param_group({"params": [torch.nn.Parameter(p * 2)], **reject.options})
    assert reject.message in str(caught.value)
    assert len(optimizer.param_groups) == 1


@each_spec
def test_refusals_of_this_framework(spec: Optimizer) -> None:
    cls, p = OPTIMIZERS[spec.name], torch.nn.Parameter(torch.ones(2, 2))
    if takes(spec.name, "fused"):
        with pytest.raises(SpecError, match=f"{spec.name}: fused is True with foreach True, expec"):
            cls([p], fused=True, foreach=True)
    if takes(spec.name, "foreach") and takes(spec.name, "differentiable"):
        with pytest.raises(SpecError, match=f"{spec.name}: foreach is True with diff"):
            cls([p], foreach=True, differentiable=True)
    with pytest.raises(SpecError, match=rf"{spec.name}: lr is a tensor of shape \(2,\), expected"):
        cls([p], lr=torch.ones(2))
    with pytest.raises(SpecError, match=rf"{spec.name}: parameter 1 .* dtype torch.complex64"):
        cls([p, torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))])
    p.grad = torch.ones(2, 2).to_sparse()
    with pytest.raises(
        RuntimeError, match=rf"{spec.name}: the gradient .* layout torch.sparse_coo"
    ):
        cls([p]).step()
