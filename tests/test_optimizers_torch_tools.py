"""bpx_torch's optimizers among torch's tools: schedulers, scaler, hooks, autograd, compile."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bpx_torch.optimizers import OPTIMIZERS
from tests.torch_optimizers import (
    SPECS,
    advance,
    float64_scalars,
    loud,
    matrices,
    pair,
    same,
    takes,
)

OPTIONS = {name: loud(SPECS[name]) for name in OPTIMIZERS}
each = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture(autouse=True)
def exact() -> Any:
    with float64_scalars():
        yield


@each
def test_schedulers_groups_hooks_and_closure(name: str) -> None:
    runs = []
    for maker in pair(name):
        params = matrices()
        named = list(zip(("a", "b"), params, strict=True))
        optimizer = maker(named[:1], **OPTIONS[name])
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
                if name == "adagrad" and torch.__version__ < "2.13" and not runs:
                    # torch's own forgets the sums of a group that is added
                    start = torch.zeros_like(params[1])
                    optimizer.state[params[1]] = {"sum": start, "step": torch.tensor(0.0)}
        assert calls == ["before", "after"] * 6
        assert [g["param_names"] for g in optimizer.param_groups] == [["a"], ["b"]]

        def closure(optimizer: Any = optimizer, params: Any = params) -> Any:
            optimizer.zero_grad()
            loss = sum((p * p * p).sum() for p in params)
            loss.backward()
            return loss

        runs.append((optimizer.step(closure), *params))
    same(runs[0], runs[1])


@pytest.mark.parametrize("name", [n for n in OPTIONS if takes(n, "betas") or takes(n, "momentum")])
def test_one_cycle_changes_momentum_as_in_torch(name: str) -> None:
    runs = []
    for maker in pair(name):
        params = matrices()
        optimizer = maker(params, **OPTIONS[name])
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=8)
        for t in range(6):
            advance(optimizer, 1, t)
            schedule.step()
        runs.append(params)
    same(*runs)


@each
def test_gradient_scaler_skips_and_unscales(name: str) -> None:
    runs = []
    for maker in pair(name):
        params = matrices(torch.float32)
        optimizer = maker(params, **OPTIONS[name])
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


@pytest.mark.parametrize("name", [n for n in OPTIONS if takes(n, "differentiable")])
def test_differentiable_step_has_gradients(name: str) -> None:
    """Seven steps (RAdam rectifies from the sixth) as a function of the start, two gradients and
    lr, by finite differences."""

    def steps(start: Any, g1: Any, g2: Any, lr: Any, differentiable: bool = True) -> Any:
        leaf = torch.zeros_like(start, requires_grad=True)
        options = {**OPTIONS[name], "lr": lr, "differentiable": differentiable}
        optimizer = OPTIMIZERS[name]([leaf], **options)
        p = start.clone()
        optimizer.param_groups[0]["params"] = [p]
        if leaf in optimizer.state:
            optimizer.state[p] = optimizer.state.pop(leaf)
        for t in range(7):
            p.grad = (1 + t) * (g2 if t % 3 == 1 else g1)
            optimizer.step()
        return p

    x = [torch.randn(2, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    lr = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(steps, (*x, lr))
    plain = steps(*(v.detach() for v in (*x, lr)), differentiable=False)
    same([steps(*x, lr).detach()], [plain])


@each
def test_compiled_step(name: str) -> None:
    runs = []
    for compiled in (False, True):
        torch._dynamo.reset()
        params = matrices()
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


class NoReads(torch.utils._python_dispatch.TorchDispatchMode):
    """Raises where a tensor's value is read on the host, which a CUDA graph cannot record."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a value was read"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if takes(n, "capturable")])
def test_capturable_reads_no_value(name: str) -> None:
    params = matrices()
    advance(OPTIMIZERS[name](params, **OPTIONS[name]), 1, 1)
    with NoReads():
        optimizer = OPTIMIZERS[name](params, **OPTIONS[name], capturable=True)
        optimizer.step()
        optimizer.step()
        with pytest.raises(AssertionError, match="a value was read"):
            OPTIMIZERS[name](params).step()
