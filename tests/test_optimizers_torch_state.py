"""bpx_torch's optimizers among torch's tools: checkpoints, schedulers, scaler, hooks, compile."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx_torch.optimizers import OPTIMIZERS

OPTIONS: dict[str, dict[str, Any]] = {
    "sgd": {"lr": 0.1, "momentum": 0.7, "dampening": 0.2},
    "adagrad": {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.3},
    "rmsprop": {"lr": 0.1, "alpha": 0.7, "momentum": 0.6, "centered": True, "eps": 1e-4},
    "adam": {"lr": 0.1, "betas": (0.6, 0.7), "amsgrad": True, "weight_decay": 0.2},
    "adamw": {"lr": 0.1, "betas": (0.6, 0.7), "amsgrad": True, "weight_decay": 0.2},
}
each = pytest.mark.parametrize("name", OPTIONS)


def of(name: str, theirs: bool) -> Any:
    cls = OPTIMIZERS[name]
    return getattr(torch.optim, cls.__name__) if theirs else cls


def parameters(dtype: Any = torch.float64) -> list[Any]:
    torch.manual_seed(3)
    return [torch.nn.Parameter(torch.randn(s, dtype=torch.float64).to(dtype)) for s in ((4, 3), 5)]


def advance(optimizer: Any, steps: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        optimizer.step()


def same(a: list[Any], b: list[Any]) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-12, atol=1e-13)


@each
@pytest.mark.parametrize("theirs_first", [False, True])
def test_checkpoint_goes_both_ways_in_mid_run(name: str, theirs_first: bool) -> None:
    straight = parameters()
    whole = of(name, True)(straight, **OPTIONS[name])
    advance(whole, 4, 1)
    advance(whole, 4, 2)

    params = parameters()
    first = of(name, theirs_first)(params, **OPTIONS[name])
    advance(first, 4, 1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = of(name, not theirs_first)(params)  # its own options are replaced by the loaded ones
    second.load_state_dict(torch.load(file, weights_only=True))
    advance(second, 4, 2)
    same(params, straight)

    ours, torchs = second.state_dict(), whole.state_dict()
    assert list(ours) == list(torchs)
    assert ours["param_groups"] == torchs["param_groups"]
    for key, row in torchs["state"].items():
        assert list(ours["state"][key]) == list(row)
        for k, v in row.items():
            torch.testing.assert_close(ours["state"][key][k], v, rtol=1e-12, atol=1e-13)


@each
def test_deepcopy_and_pickled_state_continue_alike(name: str) -> None:
    params = parameters()
    optimizer = OPTIMIZERS[name](params, **OPTIONS[name])
    advance(optimizer, 3, 1)
    twin = copy.deepcopy(optimizer)
    advance(optimizer, 3, 2)
    assert not torch.equal(twin.param_groups[0]["params"][0], params[0])
    advance(twin, 3, 2)
    same(twin.param_groups[0]["params"], params)


@each
def test_old_checkpoint_without_newer_keys(name: str) -> None:
    params = parameters()
    optimizer = OPTIMIZERS[name](params, **OPTIONS[name])
    advance(optimizer, 2, 1)
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for key in ("foreach", "maximize", "differentiable", "capturable", "fused"):
            group.pop(key, None)
    for row in saved["state"].values():
        if "step" in row:
            row["step"] = float(row["step"])
    other = [torch.nn.Parameter(p.detach().clone()) for p in params]
    loaded = OPTIMIZERS[name](other)
    loaded.load_state_dict(saved)
    advance(optimizer, 2, 2)
    advance(loaded, 2, 2)
    same(other, params)


@each
def test_float32_moments_of_bfloat16_parameters_survive_loading(name: str) -> None:
    wide = OPTIMIZERS[name](parameters(torch.float32), **OPTIONS[name])
    advance(wide, 3, 1)
    seen: list[Any] = []
    narrow = OPTIMIZERS[name](parameters(torch.bfloat16))
    exact = wide.state_dict()["state"]
    narrow.register_load_state_dict_post_hook(
        lambda o: seen.extend(v.dtype for s in o.state.values() for v in s.values())
    )
    narrow.load_state_dict(copy.deepcopy(wide.state_dict()))
    assert set(seen) == {torch.float32}  # a user's hook sees the restored state
    for i, row in narrow.state_dict()["state"].items():
        assert row.keys() == exact[i].keys()
        assert all(torch.equal(v, exact[i][k]) for k, v in row.items())
    for foreach in (False, True):
        narrow.param_groups[0]["foreach"] = foreach
        advance(narrow, 1, 2)
    kept = [v for s in narrow.state.values() for v in s.values()]
    assert all(v.dtype == torch.float32 and v.isfinite().all() for v in kept)
    assert narrow.param_groups[0]["params"][0].dtype == torch.bfloat16


def test_fused_checkpoint_of_torch_is_stepped_without_fusion() -> None:
    params = parameters()
    optimizer = torch.optim.AdamW(params, fused=True)
    advance(optimizer, 2, 1)
    ours = OPTIMIZERS["adamw"](params)
    ours.load_state_dict(optimizer.state_dict())
    assert ours.param_groups[0]["fused"] is None
    advance(ours, 1, 2)
    assert ours.state[params[0]]["step"] == 3


@each
def test_schedulers_groups_hooks_and_closure(name: str) -> None:
    runs = []
    for theirs in (True, False):
        params = parameters()
        named = list(zip(("a", "b"), params, strict=True))
        optimizer = of(name, theirs)(named[:1], **OPTIONS[name])
        schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5),
            torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.9**t),
        ]
        calls: list[str] = []
        optimizer.register_step_pre_hook(lambda *a, calls=calls: calls.append("before"))
        optimizer.register_step_post_hook(lambda *a, calls=calls: calls.append("after"))
        for t in range(6):
            advance(optimizer, 1, t)
            for schedule in schedules:
                schedule.step()
            if t == 2:
                optimizer.add_param_group({"params": named[1:], "lr": 0.05})
                schedules = []
        assert calls == ["before", "after"] * 6
        assert [g["param_names"] for g in optimizer.param_groups] == [["a"], ["b"]]

        def closure(optimizer: Any = optimizer, params: Any = params) -> Any:
            optimizer.zero_grad()
            loss = sum((p * p * p).sum() for p in params)
            loss.backward()
            return loss

        runs.append((optimizer.step(closure), *params))
    same(runs[0], runs[1])


@pytest.mark.parametrize("name", [n for n in OPTIONS if n != "adagrad"])  # nothing to cycle there
def test_one_cycle_changes_momentum_as_in_torch(name: str) -> None:
    runs = []
    for theirs in (True, False):
        params = parameters()
        optimizer = of(name, theirs)(params, **OPTIONS[name])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=8)
        for t in range(6):
            advance(optimizer, 1, t)
            schedule.step()
        runs.append(params)
    same(*runs)


@each
def test_gradient_scaler_skips_and_unscales(name: str) -> None:
    runs = []
    for theirs in (True, False):
        params = parameters(torch.float32)
        optimizer = of(name, theirs)(params, **OPTIONS[name])
        scaler = torch.amp.GradScaler("cpu", init_scale=64)
        for bad in (False, True, False):
            loss = sum((p * p).sum() for p in params) * (float("inf") if bad else 1.0)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        assert scaler.get_scale() == 32.0
        runs.append(params)
    for x, y in zip(*runs, strict=True):
        torch.testing.assert_close(x, y)


@each
def test_differentiable_step_has_gradients(name: str) -> None:
    """Two steps as a function of the start, both gradients and lr, by finite differences."""

    def two_steps(start: Any, g1: Any, g2: Any, lr: Any, differentiable: bool = True) -> Any:
        leaf = torch.zeros_like(start, requires_grad=True)
        options = {**OPTIONS[name], "lr": lr, "differentiable": differentiable}
        optimizer = OPTIMIZERS[name]([leaf], **options)
        p = start.clone()
        optimizer.param_groups[0]["params"] = [p]
        if name == "adagrad":
            optimizer.state[p] = optimizer.state.pop(leaf)
        for g in (g1, g2):
            p.grad = g
            optimizer.step()
        return p

    x = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    lr = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(two_steps, (*x, lr))
    plain = two_steps(*(v.detach() for v in (*x, lr)), differentiable=False)
    same([two_steps(*x, lr).detach()], [plain])


@each
def test_compiled_step(name: str) -> None:
    runs = []
    for compiled in (False, True):
        torch._dynamo.reset()
        params = parameters()
        optimizer = OPTIMIZERS[name](params, **OPTIONS[name])
        step = optimizer.step
        if compiled:
            step = torch.compile(lambda o=optimizer: o.step(), backend="aot_eager", fullgraph=True)
        for t in range(4):
            for p in params:
                p.grad = torch.cos(p.detach() * (t + 1))
            step()
        runs.append(params)
    same(*runs)
