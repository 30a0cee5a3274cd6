"""bpx_torch's optimizers against the specification and torch.optim, step by step; errors."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx.optimizers import ALL
from bpx.spec import Optimizer, SpecError
from bpx_torch import optim
from bpx_torch.optimizers import OPTIMIZERS
from tests import trajectories as tj

SPECS = {spec.name: spec for spec in ALL}
NAMES = {name: cls.__name__ for name, cls in OPTIMIZERS.items()}


def keywords(spec: Optimizer, options: dict[str, Any]) -> dict[str, Any] | None:
    """The torch arguments of a set of options; None where torch has not all of them."""
    accepted = inspect.signature(OPTIMIZERS[spec.name]).parameters
    if any(k not in accepted and v != spec.options[k] for k, v in options.items()):
        return None
    return {k: v for k, v in options.items() if k in accepted}


CASES = [(s, t) for s in ALL for t in s.trials if keywords(s, t) is not None]
each_case = pytest.mark.parametrize(("spec", "trial"), CASES, ids=tj.label)
each_spec = pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)


def leaves(dtype: Any = torch.float64) -> list[Any]:
    """Parameters as in the specification's run; the first is a transposed view of its storage."""
    found = []
    for i, p in enumerate(tj.parameters()):
        x = torch.tensor(p, dtype=dtype)
        x = x.t().contiguous().t() if i == 0 else x
        found.append(torch.nn.Parameter(x))
    assert not found[0].is_contiguous()
    return found


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
                assert value.dtype == (torch.float32 if key == "step" else p.dtype)
                if "square" in key or "sq" in key:
                    assert value.stride() == p.stride()
            row = {name: s[key].numpy() for name, key in states.items() if key in s}
            shown.append(row | ({"t": s["step"].numpy()} if "step" in s else {}))
        return [p.detach().numpy() for p in params], shown

    return run


def optimizer_of(spec: Optimizer, theirs: bool = False) -> Any:
    return getattr(torch.optim, NAMES[spec.name]) if theirs else OPTIMIZERS[spec.name]


def path(spec: Optimizer, theirs: bool = False, **kw: Any) -> tj.Path:
    params = leaves()
    optimizer = optimizer_of(spec, theirs)(params, **kw)
    states = OPTIMIZERS[spec.name].STATE
    return tj.trajectory(stepper(optimizer, params, states), tj.gradients(absent=True))


def spec_path(spec: Optimizer, *options: dict[str, Any], maximize: bool = False) -> tj.Path:
    full = [tj.complete(spec, o) for o in options]
    full = full * len(tj.SHAPES) if len(full) == 1 else full
    run = tj.spec_stepper(spec, full, tj.parameters(), maximize)
    return tj.trajectory(run, tj.gradients(absent=True))


@each_case
def test_trajectory(spec: Optimizer, trial: dict[str, Any]) -> None:
    want = spec_path(spec, trial)
    kw = keywords(spec, trial)
    tj.assert_same(path(spec, True, **kw), want, "torch.optim against the specification")
    for foreach in (False, True):
        tj.assert_same(path(spec, foreach=foreach, **kw), want, f"foreach={foreach}")


@each_spec
def test_maximize(spec: Optimizer) -> None:
    trial = spec.trials[2]
    want, kw = spec_path(spec, trial, maximize=True), keywords(spec, trial)
    for theirs, foreach in ((True, None), (False, False), (False, True)):
        got = path(spec, theirs, maximize=True, foreach=foreach, **kw)
        tj.assert_same(got, want, f"theirs={theirs}, foreach={foreach}")


@each_spec
@pytest.mark.parametrize("foreach", [False, True])
def test_two_groups_with_different_options(spec: Optimizer, foreach: bool) -> None:
    one, two = [t for s, t in CASES if s is spec][1:3]
    want = spec_path(spec, *[one] * 2, *[two] * (len(tj.SHAPES) - 2))
    for theirs in (True, False):
        params = leaves()
        groups = [{"params": params[:2], **one}, {"params": params[2:], **two}]
        optimizer = optimizer_of(spec, theirs)(groups, foreach=foreach)
        got = tj.trajectory(
            stepper(optimizer, params, OPTIMIZERS[spec.name].STATE), tj.gradients(absent=True)
        )
        tj.assert_same(got, want, f"theirs={theirs}")


@each_spec
def test_capturable_and_tensor_options(spec: Optimizer) -> None:
    trial = spec.trials[2]
    kw, want = keywords(spec, trial), spec_path(spec, trial)
    variants = [{"lr": torch.tensor(trial["lr"], dtype=torch.float64)}]
    accepted = inspect.signature(OPTIMIZERS[spec.name]).parameters
    if "capturable" in accepted:
        variants.append({"capturable": True})
    if "betas" in accepted:
        betas = tuple(torch.tensor(b, dtype=torch.float64) for b in trial["betas"])
        variants.append({"betas": betas, "capturable": True})
    for extra in variants:
        tj.assert_same(path(spec, **{**kw, **extra}), want, f"{list(extra)}")


# Centered is left out: the difference of two means cancels, and no bound of this form holds.
@pytest.mark.parametrize(
    ("spec", "trial"), [(s, t) for s, t in CASES if not t.get("centered")], ids=tj.label
)
def test_float32(spec: Optimizer, trial: dict[str, Any]) -> None:
    """As near the float64 specification as torch.optim is, up to a factor, and to rounding."""
    grads = [[None if g is None else np.float32(g) for g in gs] for gs in tj.gradients(absent=True)]
    start = [np.float64(np.float32(p)) for p in tj.parameters()]
    full = [tj.complete(spec, trial)] * len(start)
    wide = [[None if g is None else np.float64(g) for g in gs] for gs in grads]
    want = tj.trajectory(tj.spec_stepper(spec, full, start), wide)
    for foreach in (False, True):
        params = leaves(torch.float32)
        optimizer = optimizer_of(spec)(params, foreach=foreach, **keywords(spec, trial))
        got = tj.trajectory(stepper(optimizer, params, OPTIMIZERS[spec.name].STATE), grads)
        # every step adds at most a dozen roundings of half an eps, each at most the size of p or of
        # a step, and momentum at most carries them on: 20 * 12 / 2 = 120, in units of eps
        tj.assert_same(got, want, f"foreach={foreach}", 120 * np.finfo(np.float32).eps)


@each_spec
def test_signature_is_torchs(spec: Optimizer) -> None:
    ours = inspect.signature(optimizer_of(spec)).parameters.values()
    theirs = inspect.signature(optimizer_of(spec, True)).parameters.values()
    plain = [[(p.name, p.kind, p.default) for p in side] for side in (ours, theirs)]
    assert plain[0] == plain[1]
    p = torch.nn.Parameter(torch.ones(2))
    groups = [optimizer_of(spec, theirs)([p]).param_groups[0] for theirs in (False, True)]
    assert list(groups[0]) == list(groups[1])
    assert [(k, v) for k, v in groups[0].items() if k != "params"] == [
        (k, v) for k, v in groups[1].items() if k != "params"
    ]


def test_face_and_gaps_cover_torch_optim() -> None:
    assert set(optim.__all__) | set(optim.GAPS) == set(torch.optim.__all__)
    assert not set(optim.__all__) & set(optim.GAPS)
    assert set(optim.__all__) == set(NAMES.values())
    assert set(OPTIMIZERS) == set(SPECS)
    assert all(cls.SPEC is SPECS[name] for name, cls in OPTIMIZERS.items())


@pytest.mark.parametrize(
    ("spec", "reject"),
    [(s, r) for s in ALL for r in s.rejects if keywords(s, r.options) is not None],
    ids=lambda x: getattr(x, "name", None) or x.message[:60],
)
def test_rejects(spec: Optimizer, reject: Any) -> None:
    cls, p = OPTIMIZERS[spec.name], torch.nn.Parameter(torch.ones(2))
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
    cls, p = OPTIMIZERS[spec.name], torch.nn.Parameter(torch.ones(2))
    if "fused" in inspect.signature(cls).parameters:
        with pytest.raises(SpecError, match=f"{spec.name}: fused is True, expected None or False"):
            cls([p], fused=True)
    with pytest.raises(SpecError, match=f"{spec.name}: foreach is True with differentiable True"):
        cls([p], foreach=True, differentiable=True)
    with pytest.raises(SpecError, match=rf"{spec.name}: lr is a tensor of shape \(2,\), expected"):
        cls([p], lr=torch.ones(2))
    with pytest.raises(SpecError, match=rf"{spec.name}: parameter 1 .* dtype torch.complex64"):
        cls([p, torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))])
    p.grad = torch.ones(2).to_sparse()
    with pytest.raises(
        RuntimeError, match=rf"{spec.name}: the gradient .* layout torch.sparse_coo"
    ):
        cls([p]).step()


class NoReads(torch.utils._python_dispatch.TorchDispatchMode):
    """Raises where a tensor's value is read on the host, which a CUDA graph cannot record."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["rmsprop", "adam", "adamw"])
def test_capturable_reads_no_value(name: str) -> None:
    params = leaves()
    set_gradients(params, tj.gradients(absent=False)[0])
    with NoReads():
        OPTIMIZERS[name](params, capturable=True, weight_decay=0.1).step()
        with pytest.raises(AssertionError, match="a value was read"):
            OPTIMIZERS[name](params).step()


def test_centered_rmsprop_stays_finite_where_torch_does_not() -> None:
    """A constant gradient: v - m^2 tends to 0, and rounding puts it below."""
    ends = []
    for theirs in (False, True):
        p = torch.nn.Parameter(torch.zeros(400))
        optimizer = optimizer_of(SPECS["rmsprop"], theirs)([p], centered=True, alpha=0.5, lr=1e-12)
        p.grad = torch.linspace(0.1, 3.0, 400)
        for _ in range(60):
            optimizer.step()
        ends.append(copy.copy(p.detach()))
    assert ends[0].isfinite().all()
    assert not ends[1].isfinite().all()
