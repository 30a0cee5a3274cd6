"""What the Schedule-Free methods share: the rate, the share of the average, the two modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Options, SpecError, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array) -> State:
    return {"z": p.copy(), "x": p.copy(), "weight_sum": np.zeros(()), "lr_max": np.zeros(())}


def rate(t: int, lr: float, warmup_steps: int) -> float:
    return lr * min(t / warmup_steps, 1) if warmup_steps > 0 else lr


def averaged(state: State, t: int, size: float, r: float, power: float) -> tuple[float, State]:
    """c, the share of the new z in the average x, and the group's state after it."""
    lr_max = np.maximum(state["lr_max"], size)
    weight = t**r * lr_max**power
    weight_sum = state["weight_sum"] + weight
    c = float(weight / np.where(weight_sum > 0, weight_sum, np.inf))
    return c, {"weight_sum": weight_sum, "lr_max": lr_max}


def params_at(p: Array, state: State, mode: str) -> Array:
    """The parameters to train at, y (which is p), or to evaluate at, x."""
    if mode not in ("train", "eval"):
        raise SpecError(f"schedule_free: mode is {mode!r}, expected 'train' or 'eval'")
    return p if mode == "train" else state["x"]


def check(entry: str, options: Options, beta: Any) -> None:
    names = ("lr", "weight_decay", "warmup_steps", "r", "weight_lr_power")
    non_negative(entry, options, *names)
    name = "momentum" if "momentum" in options else "the first of betas"
    require(0 < beta < 1, f"{entry}: {name} is {beta!r}, expected a number between 0 and 1")
