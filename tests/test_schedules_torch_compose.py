"""bpx_torch's schedulers together, with momentum, tensors and resumed; what they refuse."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.optim import lr_scheduler as theirs

from bpx.spec import SpecError
from bpx_torch.optim import lr_scheduler as ours
from tests.schedule_runs import (
    BASES,
    SPECS,
    STEPS,
    assert_close,
    optimizer,
    rates,
    run,
)


def pieces(module: Any, opt: Any) -> Any:
    return [
        module.LinearLR(opt, start_factor=0.2, total_iters=9),
        module.ExponentialLR(opt, gamma=0.97),
        module.CosineAnnealingLR(opt, T_max=40),
    ]


def chained(module: Any, parts: Any) -> Any:
    opt = optimizer()
    return module.ChainedScheduler(pieces(parts, opt), opt)


def sequential(module: Any, parts: Any, last: str = "CosineAnnealingLR") -> Any:
    opt = optimizer()
    end = {"CosineAnnealingLR": {"T_max": 30}, "CosineAnnealingWarmRestarts": {"T_0": 12}}[last]
    return module.SequentialLR(
        opt,
        [*pieces(parts, opt)[:2], getattr(parts, last)(opt, **end)],
        milestones=[9, 50],
    )


def test_chained() -> None:
    want = run(chained(theirs, theirs))
    spec = SPECS["chained_scheduler"]
    fixed = [
        ("linear_lr", {"start_factor": 0.2, "total_iters": 9}),
        ("exponential_lr", {"gamma": 0.97}),
        ("cosine_annealing_lr", {"T_max": 40}),
    ]
    parts = [
        lambda t, base, s=SPECS[n], o=o: s.value(t, base, **{**s.options, **o}) for n, o in fixed
    ]
    rows = [[spec.value(t, b, schedules=parts) for b in BASES] for t in range(STEPS)]
    # torch's own cosine does not come back from 0 within a chain: it adds to what is there
    assert_close(want[:40], np.asarray(rows)[:40], "torch against the specification")
    assert_close(run(chained(ours, ours))[:40], want[:40], "ours")
    assert_close(run(chained(theirs, ours))[:40], want[:40], "ours in torch's")
    assert_close(run(chained(ours, theirs))[:40], want[:40], "torch's in ours")


@pytest.mark.parametrize("last", ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"])
def test_sequential(last: str) -> None:
    want = run(sequential(theirs, theirs, last))
    assert_close(run(sequential(ours, ours, last)), want, "ours")
    assert_close(run(sequential(theirs, ours, last)), want, "ours in torch's")
    first = sequential(ours, ours, last)
    run(first, 30)
    second = sequential(ours, ours, last)
    second.load_state_dict(first.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    assert_close(run(second, 90), want[30:120], "resumed")


@pytest.mark.parametrize("name", ["OneCycleLR", "CyclicLR"])
@pytest.mark.parametrize("betas", [False, True])
def test_momentum_is_cycled(name: str, betas: bool) -> None:
    def path(module: Any) -> Any:
        w = torch.nn.Parameter(torch.ones(2))
        opt = torch.optim.Adam([w]) if betas else torch.optim.SGD([w], momentum=0.5)
        kw = {"OneCycleLR": {"total_steps": 40}, "CyclicLR": {"base_lr": 0.1, "step_size_up": 7}}
        scheduler, rows = getattr(module, name)(opt, max_lr=0.6, **kw[name]), []
        for _ in range(39):
            group = opt.param_groups[0]
            rows.append([group["betas"][0] if betas else group["momentum"], group["lr"]])
            opt.step()
            scheduler.step()
        return np.asarray(rows)

    got, want = path(ours), path(theirs)
    assert np.ptp(want[:, 0]) > 0.05
    assert_close(got, want, name)


def test_own_scale_functions_and_fractions_of_epochs() -> None:
    def cyclic(module: Any) -> Any:
        kw = {"scale_fn": lambda x: 0.9**x, "scale_mode": "iterations", "cycle_momentum": False}
        return run(module.CyclicLR(optimizer(), 0.1, 0.5, 6, **kw), 60)

    assert_close(cyclic(ours), cyclic(theirs), "scale_fn")
    for mult in (1, 2):
        paths = []
        for module in (ours, theirs):
            scheduler, rows = module.CosineAnnealingWarmRestarts(optimizer(), 4, mult), []
            scheduler.optimizer.step()
            for epoch in np.arange(0, 30, 0.375):
                scheduler.step(float(epoch))
                rows.append(rates(scheduler.optimizer))
            paths.append(np.asarray(rows))
        assert_close(*paths, "fractions")


def test_a_tensor_learning_rate_is_changed_in_place() -> None:
    paths = []
    for module in (ours, theirs):
        w = torch.nn.Parameter(torch.ones(2))
        opt = torch.optim.SGD([w], lr=torch.tensor(0.4, dtype=torch.float64), foreach=False)
        held, scheduler = opt.param_groups[0]["lr"], module.LinearLR(opt, total_iters=7)
        paths.append(run(scheduler, 12))
        assert opt.param_groups[0]["lr"] is held
    assert_close(*paths, "tensor")


def test_resuming_by_last_epoch_leaves_the_rate_of_the_optimizer() -> None:
    """Where torch's StepLR, made at a multiple of step_size, multiplies again."""
    for name, kw in (("StepLR", {"step_size": 5}), ("ExponentialLR", {"gamma": 0.9})):
        whole = run(getattr(ours, name)(optimizer(), **kw), 30)
        opt = optimizer()
        for group, lr, base in zip(opt.param_groups, whole[10], BASES, strict=True):
            group["lr"], group["initial_lr"] = lr, base
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rest = run(getattr(ours, name)(opt, **kw, last_epoch=9), 20)
        assert_close(rest, whole[10:], name)


REJECTS = [
    ("StepLR", {"step_size": 0}, "step_lr: step_size is 0, expected an integer at least 1"),
    ("ConstantLR", {"factor": 1.5}, "constant_lr: factor is 1.5, expected a number in [0, 1]"),
    ("LinearLR", {"start_factor": 0.0}, "linear_lr: start_factor is 0.0, expected a number in (0"),
    ("OneCycleLR", {"max_lr": 1.0}, "one_cycle_lr: total_steps is None, expected an integer, or"),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9}, "cycle_momentum is True, expected False"),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "mode": "saw"}, "cyclic_lr: mode is 'saw'"),
    ("SequentialLR", {"schedulers": [], "milestones": []}, "sequential_lr: schedules is []"),
]


@pytest.mark.parametrize(("name", "kw", "message"), REJECTS)
def test_rejects(name: str, kw: dict[str, Any], message: str) -> None:
    w = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(SpecError) as caught:
        getattr(ours, name)(torch.optim.Adagrad([w]), **kw)
    assert message in str(caught.value)


def test_rejects_in_a_run() -> None:
    opt, other = optimizer(momentum=0.9), optimizer()
    scheduler = ours.OneCycleLR(opt, 0.1, total_steps=3)
    opt.step()
    for _ in range(3):
        scheduler.step()
    with pytest.raises(SpecError, match=r"step is 4, expected at most total_steps \(3\)"):
        scheduler.step()
    restarts = ours.CosineAnnealingWarmRestarts(opt, 4)
    with pytest.raises(SpecError, match="epoch is -1, expected a number at least 0"):
        restarts.step(-1)
    with pytest.raises(SpecError, match=r"schedulers\[0\] is of another optimizer"):
        ours.ChainedScheduler([restarts], other)
    with pytest.raises(SpecError, match=r"schedulers\[0\] is a int, expected a scheduler"):
        ours.SequentialLR(opt, [3], [])
