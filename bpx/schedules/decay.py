"""Schedules that multiply by a factor again and again."""

from __future__ import annotations

import math
from bisect import bisect_right

from bpx.limits import above_zero, count, finite, increasing
from bpx.spec import Options, Reject, require
from bpx.training import Schedule

PATH = "schedules/decay"


def _step(t: int, base: float, *, step_size: int, gamma: float) -> float:
    return base * gamma ** (t // step_size)


def _step_check(o: Options) -> None:
    count("step_lr", o, "step_size")
    finite("step_lr", o, "gamma")


STEP = Schedule(
    name="step_lr",
    path=PATH,
    doc="""Step decay: times gamma every step_size steps.

    value(t) = base * gamma^floor(t / step_size)

Source: He, Zhang, Ren, Sun 2015, "Deep residual learning for image recognition", arXiv:1512.03385,
section 3.4; torch.optim.lr_scheduler.StepLR for the options.
""",
    options={"step_size": 30, "gamma": 0.1},
    value=_step,
    check=_step_check,
    trials=({}, {"step_size": 7, "gamma": 0.6}, {"step_size": 1, "gamma": 1.01}),
    rejects=(
        Reject("step_lr: step_size is 0, expected an integer at least 1", {}, {"step_size": 0}),
        Reject("step_size is 2.5, expected an integer at least 1", {}, {"step_size": 2.5}),
        Reject("step_lr: gamma is nan, expected a finite number", {}, {"gamma": float("nan")}),
    ),
)


def _multi_step(
    t: int, base: float, *, milestones: tuple[int, ...], gamma: float | tuple[float, ...]
) -> float:
    passed = bisect_right(milestones, t)
    if isinstance(gamma, (int, float)):
        return base * gamma**passed
    return base * math.prod(gamma[:passed])


def _multi_step_check(o: Options) -> None:
    increasing("multi_step_lr", "milestones", o["milestones"], strictly=False)
    if not isinstance(o["gamma"], (tuple, list)):
        finite("multi_step_lr", o, "gamma")
        return
    for gamma in o["gamma"]:
        finite("multi_step_lr", {"gamma": gamma}, "gamma")
    require(
        len(o["gamma"]) == len(o["milestones"]),
        f"multi_step_lr: gamma is {o['gamma']!r}, expected one number or "
        f"{len(o['milestones'])} (one a milestone)",
    )


MULTI_STEP = Schedule(
    name="multi_step_lr",
    path=PATH,
    doc="""Decay at given steps: times gamma at every milestone.

    value(t) = base * gamma^n,   n = the number of milestones at most t

* gamma is one number or one for each milestone, as optax.piecewise_constant_schedule has it: then
  value(t) = base * gamma_1 * ... * gamma_n.

A milestone given twice counts twice. The new value holds from the milestone on.

Source: torch.optim.lr_scheduler.MultiStepLR and optax.piecewise_constant_schedule for the options;
the practice is that of He et al. 2015, arXiv:1512.03385, section 4.2.
""",
    options={"milestones": (30, 80), "gamma": 0.1},
    value=_multi_step,
    check=_multi_step_check,
    trials=(
        {},
        {"milestones": (3, 3, 40), "gamma": 0.7},
        {"milestones": (0, 11, 12, 90), "gamma": (0.5, 3.0, 0.25, 0.9)},
        {"milestones": ()},
    ),
    rejects=(
        Reject("milestones is (3, 2), expected ordered integers", {}, {"milestones": (3, 2)}),
        Reject("milestones is 30, expected ordered integers at least 0", {}, {"milestones": 30}),
        Reject(
            "gamma is (0.5,), expected one number or 2 (one a milestone)", {}, {"gamma": (0.5,)}
        ),
        Reject("gamma is 'half', expected a finite number", {}, {"gamma": "half"}),
        Reject("gamma is inf, expected a finite number", {}, {"gamma": (0.1, float("inf"))}),
    ),
)


def _exponential(
    t: int,
    base: float,
    *,
    gamma: float,
    period: float,
    begin: int,
    staircase: bool,
    end: float | None,
) -> float:
    n = max(t - begin, 0) / period
    n = math.floor(n) if staircase else n
    value = base * float(gamma) ** n
    if end is None:
        return value
    return max(value, end) if gamma < 1 else min(value, end)


def _exponential_check(o: Options) -> None:
    above_zero("exponential_lr", o, "gamma", "period")
    count("exponential_lr", o, "begin", least=0)
    if o["end"] is not None:
        finite("exponential_lr", o, "end")


EXPONENTIAL = Schedule(
    name="exponential_lr",
    path=PATH,
    doc="""Exponential decay.

    n        = max(t - begin, 0) / period              staircase: rounded down
    value(t) = base * gamma^n
    value(t) <- max(value(t), end)                     gamma < 1, min else; not with end=None

torch.optim.lr_scheduler.ExponentialLR has gamma alone (period 1, begin 0); optax.exponential_decay
has all options.

Source: Robbins, Monro 1951 for decreasing rates, Ann. Math. Statist. 22(3); torch and optax for the
options.
""",
    options={"gamma": 0.9, "period": 1, "begin": 0, "staircase": False, "end": None},
    value=_exponential,
    check=_exponential_check,
    trials=(
        {},
        {"gamma": 0.37, "period": 13, "begin": 5},
        {"gamma": 0.5, "period": 9, "begin": 4, "staircase": True},
        {"gamma": 0.8, "period": 3, "end": 0.02},
        {"gamma": 1.1, "period": 3, "end": 9.0},
    ),
    rejects=(
        Reject("exponential_lr: gamma is 0, expected a number above 0", {}, {"gamma": 0}),
        Reject("exponential_lr: period is 0, expected a number above 0", {}, {"period": 0}),
        Reject("begin is -1, expected an integer at least 0", {}, {"begin": -1}),
        Reject("exponential_lr: end is 'low', expected a finite number", {}, {"end": "low"}),
    ),
)
