"""Schedules that go from one value to another and stay there."""

from __future__ import annotations

from bpx.limits import count, finite, non_negative
from bpx.spec import Options, Reject
from bpx.training import Schedule

PATH = "schedules/ramp"


def _constant(t: int, base: float, *, factor: float, total_iters: int) -> float:
    return base * factor if t < total_iters else base


def _constant_check(o: Options) -> None:
    finite("constant_lr", o, "factor")
    count("constant_lr", o, "total_iters", least=0)


CONSTANT = Schedule(
    name="constant_lr",
    path=PATH,
    doc="""A constant, and another constant before it.

    value(t) = base * factor     t < total_iters
    value(t) = base              later

optax.constant_schedule is total_iters = 0.

Source: torch.optim.lr_scheduler.ConstantLR for the options; a constant warm-up is that of He et al.
2015, arXiv:1512.03385, section 4.2.
""",
    options={"factor": 1 / 3, "total_iters": 5},
    value=_constant,
    check=_constant_check,
    trials=({}, {"factor": 0.2, "total_iters": 17}, {"total_iters": 0}),
    rejects=(
        Reject("constant_lr: factor is nan, expected a finite", {}, {"factor": float("nan")}),
        Reject("total_iters is -1, expected an integer at least 0", {}, {"total_iters": -1}),
    ),
)


def _linear(
    t: int, base: float, *, start_factor: float, end_factor: float, total_iters: int, begin: int
) -> float:
    share = min(max(t - begin, 0), total_iters) / total_iters
    return base * (start_factor + (end_factor - start_factor) * share)


def _linear_check(o: Options) -> None:
    finite("linear_lr", o, "start_factor", "end_factor")
    count("linear_lr", o, "total_iters")
    count("linear_lr", o, "begin", least=0)


LINEAR = Schedule(
    name="linear_lr",
    path=PATH,
    doc="""A straight line between two values: the usual warm-up.

    share    = clip(t - begin, 0, total_iters) / total_iters
    value(t) = base * (start_factor + (end_factor - start_factor) * share)

torch.optim.lr_scheduler.LinearLR has no begin, and factors of at most 1. optax.linear_schedule has
values in place of factors: base = 1. optax takes total_iters <= 0 for a constant, here it is
refused.

Source: Goyal et al. 2017, "Accurate, large minibatch SGD", arXiv:1706.02677, section 2.2.
""",
    options={"start_factor": 1 / 3, "end_factor": 1.0, "total_iters": 5, "begin": 0},
    value=_linear,
    check=_linear_check,
    trials=(
        {},
        {"start_factor": 0.1, "end_factor": 0.9, "total_iters": 37},
        {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 11},
        {"start_factor": 0.7, "end_factor": 2.0, "total_iters": 23, "begin": 4},
    ),
    rejects=(
        Reject("linear_lr: total_iters is 0, expected an integer", {}, {"total_iters": 0}),
        Reject("linear_lr: begin is -3, expected an integer at least 0", {}, {"begin": -3}),
        Reject("linear_lr: start_factor is None, expected a finite", {}, {"start_factor": None}),
    ),
)


def _polynomial(
    t: int, base: float, *, total_iters: int, power: float, end: float, begin: int
) -> float:
    left = 1 - min(max(t - begin, 0), total_iters) / total_iters
    return (base - end) * left**power + end


def _polynomial_check(o: Options) -> None:
    count("polynomial_lr", o, "total_iters")
    count("polynomial_lr", o, "begin", least=0)
    non_negative("polynomial_lr", o, "power")
    finite("polynomial_lr", o, "end")


POLYNOMIAL = Schedule(
    name="polynomial_lr",
    path=PATH,
    doc="""A power of the steps that are left.

    left     = 1 - clip(t - begin, 0, total_iters) / total_iters
    value(t) = (base - end) * left^power + end

torch.optim.lr_scheduler.PolynomialLR has end = 0 and begin = 0; optax.polynomial_schedule has all
options, and takes total_iters <= 0 for a constant, which is refused here. 0^0 = 1.

Source: Chen et al. 2016, "DeepLab", arXiv:1606.00915, section 4.1 (the "poly" policy).
""",
    options={"total_iters": 5, "power": 1.0, "end": 0.0, "begin": 0},
    value=_polynomial,
    check=_polynomial_check,
    trials=(
        {},
        {"total_iters": 61, "power": 0.9},
        {"total_iters": 40, "power": 2.5, "end": 0.03, "begin": 7},
        {"total_iters": 9, "power": 0.0, "end": 0.5},
    ),
    rejects=(
        Reject("polynomial_lr: total_iters is 0, expected", {}, {"total_iters": 0}),
        Reject("polynomial_lr: power is -1, expected a number at least 0", {}, {"power": -1}),
        Reject("polynomial_lr: begin is 0.5, expected an integer", {}, {"begin": 0.5}),
        Reject("polynomial_lr: end is None, expected a finite number", {}, {"end": None}),
    ),
)
