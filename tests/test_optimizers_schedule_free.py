"""The two modes of the Schedule-Free optimizers, in three trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bpx.optimizers import ALL
from bpx.spec import SpecError
from tests import trajectories as tj

SPECS = {spec.name: spec for spec in ALL if spec.params_at is not None}
KW = {
    "schedule_free_sgd": {"lr": 0.25, "momentum": 0.7, "weight_decay": 0.1},
    "schedule_free_adamw": {"lr": 0.25, "betas": (0.7, 0.8), "weight_decay": 0.1},
}
each = pytest.mark.parametrize("name", KW)
STEPS = 12


def averages(name: str, absent: bool) -> tuple[list[Any], list[dict[str, Any]]]:
    """x and the state of the specification after a few steps; x from the mean of all z too."""
    spec, start = SPECS[name], tj.parameters(SPECS[name])
    run = tj.spec_stepper(spec, [tj.complete(spec, KW[name])] * len(start), start)
    zs: list[list[Any]] = []
    for gs in tj.gradients(spec, absent=absent, steps=STEPS):
        ys, states = run(gs)
        zs.append([s.get("z") for s in states])
    xs = [spec.params_at(y, s, "eval") for y, s in zip(ys, states, strict=True)]
    assert all(spec.params_at(y, s, "train") is y for y, s in zip(ys, states, strict=True))
    if not absent:  # a constant rate: all weights are equal
        for i, x in enumerate(xs):
            np.testing.assert_allclose(x, np.mean([z[i] for z in zs], axis=0), rtol=1e-11)
    return xs, states


def test_modes_are_named() -> None:
    assert set(SPECS) == set(KW)
    state = SPECS["schedule_free_sgd"].init(np.ones(2))
    with pytest.raises(SpecError, match="mode is 'test', expected 'train' or 'eval'"):
        SPECS["schedule_free_sgd"].params_at(np.ones(2), state, "test")


@each
@pytest.mark.parametrize("foreach", [False, True])
def test_torch(name: str, foreach: bool) -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    want, states = averages(name, absent=True)
    start = tj.parameters(SPECS[name])
    params = [torch.nn.Parameter(torch.tensor(p)) for p in start]
    optimizer = OPTIMIZERS[name](params, foreach=foreach, **KW[name])
    optimizer.eval()
    optimizer.train()
    for t, gs in enumerate(tj.gradients(SPECS[name], absent=True, steps=STEPS)):
        for p, g in zip(params, gs, strict=True):
            p.grad = None if g is None else torch.tensor(g)
        optimizer.step()
        if t % 4 == 1:  # there and back changes nothing
            optimizer.eval()
            optimizer.eval()
            with pytest.raises(SpecError, match=f"{name}: step is called in eval mode, expected"):
                optimizer.step()
            optimizer.train()
    optimizer.eval()
    for p, w, before in zip(params, want, start, strict=True):
        # x = (y - (1 - b) z) / b: rounding of y and z, over b, for a dozen steps
        np.testing.assert_allclose(p.detach(), w, rtol=1e-10, atol=1e-12)
        assert not p.numel() or not np.array_equal(p.detach(), before)
    group = optimizer.param_groups[0]
    assert group["k"] == STEPS
    assert group["weight_sum"] == pytest.approx(float(states[0]["weight_sum"]), rel=1e-13)
    assert group["lr_max"] == group["scheduled_lr"] == 0.25


@each
def test_torch_keeps_float32_beside_bfloat16(name: str) -> None:
    torch = pytest.importorskip("torch")
    from bpx_torch.optimizers import OPTIMIZERS

    p = torch.nn.Parameter(torch.linspace(-2, 3, 7).bfloat16())
    optimizer = OPTIMIZERS[name]([p], **KW[name])
    wide = torch.nn.Parameter(p.detach().float())
    other = OPTIMIZERS[name]([wide], **KW[name])
    for q in (p, wide):
        q.grad = torch.linspace(0.5, -1.5, 7).bfloat16().to(q.dtype)
    for o in (optimizer, other):
        o.step()
    assert all(v.dtype == torch.float32 for v in optimizer.state[p].values())
    assert torch.equal(optimizer.state[p]["z"], other.state[wide]["z"])
    assert torch.equal(p.detach(), wide.detach().bfloat16())


@each
def test_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    from bpx_jax import optim

    want, states = averages(name, absent=False)
    kw = {k: v for k, v in KW[name].items() if k not in ("lr", "momentum", "betas")}
    kw |= {"b1": 0.7} | ({"b2": 0.8} if "betas" in KW[name] else {})
    tx = getattr(optim, name)(0.25, **kw)
    params = [jax.numpy.asarray(p) for p in tj.parameters(SPECS[name])]
    state = tx.init(params)
    for gs in tj.gradients(SPECS[name], absent=False, steps=STEPS):
        updates, state = tx.update([jax.numpy.asarray(g) for g in gs], state, params)
        params = jax.tree.map(jax.numpy.add, params, updates)
    for x, w in zip(optim.schedule_free_eval_params(state, params), want, strict=True):
        np.testing.assert_allclose(x, w, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.weight_sum, states[0]["weight_sum"], rtol=1e-13)
    assert state.step_count == STEPS + 1
    narrow = tx.init(jax.tree.map(lambda p: p.astype("bfloat16"), params))
    assert narrow.weight_sum.dtype == narrow.max_lr.dtype == narrow.b1.dtype == "float32"
    assert narrow.z[0].dtype == "bfloat16"
    with pytest.raises(SpecError, match="the state is a tuple, expected a ScheduleFreeState"):
        optim.schedule_free_eval_params((), params)
    with pytest.raises(SpecError, match=f"{name}: params is None, expected the parameters"):
        tx.update(params, state)
