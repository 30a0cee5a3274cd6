"""Schedules made of schedules: one after the other, and all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from bpx.limits import increasing
from bpx.spec import Options, Reject, require
from bpx.training import Schedule

PATH = "schedules/compose"
Part = Callable[[int, float], float]


def _parts(entry: str, schedules: Any) -> None:
    good = isinstance(schedules, (tuple, list)) and schedules and all(map(callable, schedules))
    require(bool(good), f"{entry}: schedules is {schedules!r}, expected at least one schedule")


def _sequential(
    t: int, base: float, *, schedules: tuple[Part, ...], milestones: tuple[int, ...]
) -> float:
    passed = bisect_right(milestones, t)
    since = t - milestones[passed - 1] if passed else t
    return schedules[passed](since, base)


def _sequential_check(o: Options) -> None:
    _parts("sequential_lr", o["schedules"])
    increasing("sequential_lr", "milestones", o["milestones"])
    require(
        len(o["milestones"]) == len(o["schedules"]) - 1,
        f"sequential_lr: milestones is {o['milestones']!r}, expected {len(o['schedules']) - 1} "
        "(one less than schedules)",
    )


def _keep(t: int, base: float) -> float:
    return base


def _warm(t: int, base: float) -> float:
    return base * (t + 1) / 8


def _fade(t: int, base: float) -> float:
    return base / (1 + 0.2 * t)


SEQUENTIAL = Schedule(
    name="sequential_lr",
    path=PATH,
    doc="""One schedule after the other; each counts its steps from its milestone.

    i        = the number of milestones at most t
    value(t) = schedules[i](t - milestones[i - 1], base)

schedules has to be given. A schedule is a function (t, base) -> value, such as another entry's
`value` with its options. In torch a schedule that steps from value to value starts from what its
predecessor left in the optimizer where it has no closed form; those here have one, so all of them
start from base.

Source: torch.optim.lr_scheduler.SequentialLR and optax.join_schedules for the options; Goyal et al.
2017, arXiv:1706.02677, section 2.2 for a warm-up before another schedule.
""",
    options={"schedules": (), "milestones": ()},
    value=_sequential,
    check=_sequential_check,
    trials=(
        {"schedules": (_warm, _fade), "milestones": (7,)},
        {"schedules": (_warm, _keep, _fade), "milestones": (3, 31)},
    ),
    rejects=(
        Reject("sequential_lr: schedules is (), expected at least one", {}, {"schedules": ()}),
        Reject("sequential_lr: schedules is (3,), expected", {}, {"schedules": (3,)}),
        Reject(
            "milestones is (4,), expected 0 (one less than schedules)",
            {},
            {"schedules": (max,), "milestones": (4,)},
        ),
        Reject(
            "milestones is 5, expected increasing integers at least 0",
            {},
            {"schedules": (max, min), "milestones": 5},
        ),
        Reject(
            "milestones is (3, 3), expected increasing integers",
            {},
            {"schedules": (max, min, max), "milestones": (3, 3)},
        ),
    ),
)


def _chained(t: int, base: float, *, schedules: tuple[Part, ...]) -> float:
    value = base
    for schedule in schedules:
        value = value * schedule(t, 1.0)
    return value


def _chained_check(o: Options) -> None:
    _parts("chained_scheduler", o["schedules"])


CHAINED = Schedule(
    name="chained_scheduler",
    path=PATH,
    doc="""Schedules that all act at once: their factors are multiplied.

    value(t) = base * schedules[0](t, 1) * schedules[1](t, 1) * ...

schedules has to be given, each as for sequential_lr. This is what torch's ChainedScheduler does
with schedules that are a factor of base: step, multi-step, exponential, constant, linear,
polynomial, and cosine with eta_min = 0 down to its first 0. One with a value of its own (restarts,
one cycle, cyclic) overwrites in torch what came before it.

Source: torch.optim.lr_scheduler.ChainedScheduler for the options; You et al. 2017, "Large batch
training of convolutional networks", arXiv:1708.03888, for a warm-up within a polynomial decay.
""",
    options={"schedules": ()},
    value=_chained,
    check=_chained_check,
    trials=({"schedules": (_warm, _fade)}, {"schedules": (_fade, _fade, _keep)}),
    rejects=(
        Reject("chained_scheduler: schedules is (), expected at least", {}, {"schedules": ()}),
        Reject("chained_scheduler: schedules is 'linear', expected", {}, {"schedules": "linear"}),
    ),
)
