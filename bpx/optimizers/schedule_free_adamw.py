r"""Schedule-Free AdamW: an average of the iterates instead of a schedule and of Adam's momentum.

    y, the parameters, is where gradients are taken; z is the iterate of Adam; x, the average of all
    z, is where the model is evaluated (`params_at`). All three start at the parameters.

    size = lr * min(t / warmup_steps, 1)               t = 1, 2, ...; lr without warm-up
    v    <- b2 * v + (1 - b2) * g^2
    d    = g / (sqrt(v / (1 - b2^t)) + eps) + weight_decay * y
    z    <- z - size * d
    w    = t^r * lr_max^weight_lr_power                lr_max: the largest size so far
    c    = w / (the sum of all w so far)               0 where the sum is 0
    x    <- (1 - c) * x + c * z
    y    <- (1 - b1) * z + b1 * x

t, lr_max and the sum belong to the group of parameters: they advance in steps in which a parameter
has no gradient too. Two sequences are enough to keep, x = (y - (1 - b1) * z) / b1.

* late_warmup: z moves by the size of the step before, nothing in the first one.

The authors' package schedulefree has no late_warmup; optax.contrib.schedule_free_adamw is
late_warmup = True and r = 0 (it counts from 0 in z and from 1 in w), and its schedules behave so.

Source: Defazio et al. 2024, "The road less scheduled", arXiv:2405.15682, algorithm 1; r is the
package's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers import _schedule_free as free
from bpx.optimizers._limits import betas as check_betas
from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return {**free.init(p), "v": np.zeros_like(p)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    warmup_steps: int,
    r: float,
    weight_lr_power: float,
    late_warmup: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    size = free.rate(t, lr, warmup_steps)
    move = free.rate(t - 1, lr, warmup_steps) if late_warmup else size
    v = b2 * state["v"] + (1 - b2) * g * g
    d = g / (np.sqrt(v / (1 - b2**t)) + eps) + weight_decay * p
    z = state["z"] - move * d
    c, group = free.averaged(state, t, size, r, weight_lr_power)
    x = (1 - c) * state["x"] + c * z
    y = (1 - b1) * z + b1 * x
    return y, {"z": z, "x": x, "v": v, **group}


def check(options: Options) -> None:
    check_betas("schedule_free_adamw", options)
    non_negative("schedule_free_adamw", options, "eps")
    free.check("schedule_free_adamw", options, options["betas"][0])


SPEC = Optimizer(
    name="schedule_free_adamw",
    path="optimizers/schedule_free_adamw",
    doc=__doc__,
    options={
        "lr": 2.5e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "r": 0.0,
        "weight_lr_power": 2.0,
        "late_warmup": False,
    },
    state=("z", "x", "v", "weight_sum", "lr_max"),
    shared=("weight_sum", "lr_max"),
    derived=("x",),
    init=init,
    step=step,
    params_at=free.params_at,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.2, "weight_lr_power": 1.0},
        {"lr": 0.2, "betas": (0.6, 0.9), "warmup_steps": 5, "r": 1.5, "eps": 1e-5},
        {"lr": 0.25, "betas": (0.8, 0.7), "warmup_steps": 4, "late_warmup": True, "eps": 1e-4},
    ),
    rejects=(
        Reject("lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("the first of betas is 0.0, expected a number between", {}, {"betas": (0.0, 0.9)}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
        Reject("eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("weight_decay is -1, expected a number at least 0", {}, {"weight_decay": -1}),
        Reject("warmup_steps is -1, expected a number at least 0", {}, {"warmup_steps": -1}),
        Reject("r is -1, expected a number at least 0", {}, {"r": -1}),
        Reject("weight_lr_power is -1, expected a number", {}, {"weight_lr_power": -1}),
    ),
)
