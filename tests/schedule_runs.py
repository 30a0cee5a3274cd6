"""Runs of a schedule in PyTorch, and how far two may be apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")


from bpx.schedules import ALL
from bpx_torch.schedules import SCHEDULES

EPS = np.finfo(float).eps
STEPS = 250
BASES = (0.3, 0.07)
SPECS = {spec.name: spec for spec in ALL}
# options of the specification that torch's class has not
BEYOND = {"period", "begin", "staircase", "end", "exponent", "pct_final"}
ABSOLUTE = {"one_cycle_lr": "max_lr", "cyclic_lr": "base_lr"}  # base is an argument


def torch_has(spec: Any, trial: dict[str, Any]) -> bool:
    outside = trial.keys() & BEYOND or isinstance(trial.get("gamma"), tuple)
    profile = trial.get("profile", "torch")
    if trial.get("total_iters") == 0:
        return False  # torch multiplies by the factor and never undoes it
    return not outside and profile == "torch" and trial.get("end_factor", 1) <= 1


CASES = [(s, t) for s in ALL for t in s.trials if "schedules" not in s.options and torch_has(s, t)]


def optimizer(bases: tuple[float, ...] = BASES, **kw: Any) -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in bases]
    return torch.optim.SGD(groups, lr=0.1, **kw)


def make(module: Any, spec: Any, trial: dict[str, Any], opt: Any) -> Any:
    name = SCHEDULES[spec.name].__name__
    given = {k: v for k, v in trial.items() if k != "periodic"}
    if spec.name in ABSOLUTE:
        given[ABSOLUTE[spec.name]] = list(BASES)
        given["cycle_momentum"] = False
    if spec.name == "cyclic_lr":
        given.setdefault("max_lr", 9.0)
    if spec.name == "exponential_lr":
        given.setdefault("gamma", spec.options["gamma"])
    if spec.name == "multi_step_lr":
        given.setdefault("milestones", list(spec.options["milestones"]))
    for needed in ("step_size", "T_max", "T_0", "total_steps"):
        if needed in spec.options:
            given.setdefault(needed, spec.options[needed])
    return getattr(module, name)(opt, **given)


def rates(opt: Any) -> list[float]:
    return [float(group["lr"]) for group in opt.param_groups]


def run(scheduler: Any, steps: int = STEPS) -> Any:
    opt, rows = scheduler.optimizer, []
    for _ in range(steps):
        rows.append(rates(opt))
        assert [float(x) for x in scheduler.get_last_lr()] == rows[-1]
        opt.step()
        scheduler.step()
    return np.asarray(rows)


def length(trial: dict[str, Any]) -> int:
    return min(STEPS, trial.get("total_steps", STEPS))


def assert_close(got: Any, want: Any, what: str) -> None:
    """A step from value to value rounds a few times; the roundings add up over the steps, in units
    of the largest value so far (a cosine comes back up from 0)."""
    t = np.arange(1, len(want) + 1)[:, None]
    limit = 4 * EPS * (t + 4) * np.maximum.accumulate(np.abs(want) + 1e-300, axis=0)
    assert got.shape == want.shape
    worst = np.max(np.abs(got - want) / limit)
    assert worst <= 1, f"{what}: {worst:.2g} times the limit"
