"""What follows a metric: a learning rate that falls on a plateau, and the end of a run."""

from __future__ import annotations

import math
from typing import Any

from bpx.limits import count, non_negative
from bpx.spec import Options, Reject, one_of, require
from bpx.training import Transform

PATH = "transforms/metric"
State = dict[str, Any]


def _plateau_start(lr: float, *, mode: str, **options: Any) -> State:
    return {"best": math.inf if mode == "min" else -math.inf, "bad": 0, "cooldown": 0}


def _plateau(
    metric: float,
    lr: float,
    state: State,
    *,
    mode: str,
    factor: float,
    patience: int,
    rtol: float,
    atol: float,
    cooldown: int,
    min_lr: float,
    eps: float,
) -> Any:
    best, bad, wait = state["best"], state["bad"], state["cooldown"]
    if mode == "min":
        better = metric < best * (1 - rtol) - atol
    else:
        better = metric > best * (1 + rtol) + atol
    best, bad = (metric, 0) if better else (best, bad + 1)
    if wait > 0:
        wait, bad = wait - 1, 0
    if bad > patience:
        lower = max(lr * factor, min_lr)
        lr = lower if lr - lower > eps else lr
        wait, bad = cooldown, 0
    return lr, {"best": best, "bad": bad, "cooldown": wait}


def _plateau_check(o: Options) -> None:
    name = "reduce_lr_on_plateau"
    one_of(name, "mode", o["mode"], ("min", "max"))
    non_negative(name, o, "factor", "rtol", "atol", "min_lr", "eps")
    require(o["rtol"] <= 1, f"{name}: rtol is {o['rtol']!r}, expected a number at most 1")
    require(o["factor"] < 1, f"{name}: factor is {o['factor']!r}, expected a number below 1")
    count(name, o, "patience", "cooldown", least=0)


PLATEAU = Transform(
    name="reduce_lr_on_plateau",
    path=PATH,
    doc="""A learning rate that is multiplied by factor when a metric no longer gets better.

    better    metric < best * (1 - rtol) - atol          mode="max": > best * (1 + rtol) + atol
    better:   best <- metric,   bad <- 0
    else:     bad <- bad + 1
    in a cooldown:   cooldown <- cooldown - 1,   bad <- 0
    bad > patience:  lr <- max(lr * factor, min_lr),   cooldown begins,   bad <- 0

A step of at most eps is not taken. torch has one threshold, rtol or atol (threshold_mode). optax
has both, no eps and mode="min" alone; it counts to patience where torch goes one beyond: optax's
patience is this one plus 1. With rtol and mode="min" a negative best asks for a metric that is
worse, as in torch and optax: take atol for metrics below 0. A NaN is never better.

Source: torch.optim.lr_scheduler.ReduceLROnPlateau and optax.contrib.reduce_on_plateau, by
definition; the practice is that of He et al. 2015, arXiv:1512.03385, section 3.4.
""",
    on="metric",
    options={
        "mode": "min",
        "factor": 0.1,
        "patience": 10,
        "rtol": 1e-4,
        "atol": 0.0,
        "cooldown": 0,
        "min_lr": 0.0,
        "eps": 1e-8,
    },
    state=("best", "bad", "cooldown"),
    init=_plateau_start,
    step=_plateau,
    check=_plateau_check,
    trials=(
        {},
        {"factor": 0.5, "patience": 2, "rtol": 0.1, "cooldown": 3},
        {"factor": 0.7, "patience": 0, "rtol": 0.0, "atol": 0.05, "min_lr": 0.01},
        {"mode": "max", "factor": 0.6, "patience": 1, "rtol": 0.05, "eps": 0.01},
        {"mode": "max", "factor": 0.6, "patience": 1, "rtol": 0.0, "atol": 0.1},
    ),
    rejects=(
        Reject("mode is 'up', expected one of ['min', 'max']", {}, {"mode": "up"}),
        Reject("factor is 1.0, expected a number below 1", {}, {"factor": 1.0}),
        Reject("factor is -1, expected a number at least 0", {}, {"factor": -1}),
        Reject("patience is -1, expected an integer at least 0", {}, {"patience": -1}),
        Reject("cooldown is 1.5, expected an integer at least 0", {}, {"cooldown": 1.5}),
        Reject("rtol is 1.5, expected a number at most 1", {}, {"rtol": 1.5}),
        Reject("rtol is -0.1, expected a number at least 0", {}, {"rtol": -0.1}),
    ),
)


def _stopping_start(weights: Any, *, mode: str, **options: Any) -> State:
    worst = math.inf if mode == "min" else -math.inf
    return {"best": worst, "bad": 0, "at": -1, "t": 0, "weights": weights}


def _stopping(
    metric: float, weights: Any, state: State, *, patience: int, min_delta: float, mode: str
) -> Any:
    best, t = state["best"], state["t"]
    gain = best - metric if mode == "min" else metric - best
    if gain > min_delta:
        return False, {"best": metric, "bad": 0, "at": t, "t": t + 1, "weights": weights}
    bad = state["bad"] + 1
    return bad >= patience, {**state, "bad": bad, "t": t + 1}


def _stopping_check(o: Options) -> None:
    one_of("early_stopping", "mode", o["mode"], ("min", "max"))
    non_negative("early_stopping", o, "min_delta")
    count("early_stopping", o, "patience")


EARLY_STOPPING = Transform(
    name="early_stopping",
    path=PATH,
    doc="""The end of a run whose metric no longer gets better, with the weights of its best.

    better    best - metric > min_delta                  mode="max": metric - best > min_delta
    better:   best <- metric,   weights are kept,   bad <- 0
    else:     bad <- bad + 1;   stop where bad >= patience

The first metric is better than none. A NaN is never better; a run of NaN alone stops with the
weights it began with. After the first stop it goes on to say stop until the metric is better.
flax.training.early_stopping stops one evaluation later: its patience is this one less 1.

Source: Prechelt 1998, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, the
criterion UP with strips of one evaluation and a minimum gain.
""",
    on="metric",
    options={"patience": 10, "min_delta": 0.0, "mode": "min"},
    state=("best", "bad", "at", "t", "weights"),
    init=_stopping_start,
    step=_stopping,
    check=_stopping_check,
    trials=({}, {"patience": 3, "min_delta": 0.05}, {"patience": 1, "mode": "max"}),
    rejects=(
        Reject("early_stopping: patience is 0, expected an integer at", {}, {"patience": 0}),
        Reject("min_delta is -0.5, expected a number at least 0", {}, {"min_delta": -0.5}),
        Reject("mode is 'best', expected one of ['min', 'max']", {}, {"mode": "best"}),
    ),
)
