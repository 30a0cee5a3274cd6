r"""Schedule-Free SGD: an average of the iterates instead of a schedule of the learning rate.

    y, the parameters, is where gradients are taken; z is the iterate of SGD; x, the average of all
    z, is where the model is evaluated (`params_at`). All three start at the parameters.

    size = lr * min(t / warmup_steps, 1)               t = 1, 2, ...; lr without warm-up
    g    <- g + weight_decay * y                       L2 penalty, at y
    z    <- z - size * g
    w    = t^r * lr_max^weight_lr_power                lr_max: the largest size so far
    c    = w / (the sum of all w so far)               0 where the sum is 0
    x    <- (1 - c) * x + c * z
    y    <- (1 - momentum) * z + momentum * x

t, lr_max and the sum belong to the group of parameters: they advance in steps in which a parameter
has no gradient too. Two sequences are enough to keep, x = (y - (1 - momentum) * z) / momentum.

* late_warmup: z moves by the size of the step before, nothing in the first one.

The authors' package schedulefree has no late_warmup; optax.contrib.schedule_free_sgd is
late_warmup = True and r = 0 (it counts from 0 in z and from 1 in w), and its schedules behave so.

Source: Defazio et al. 2024, "The road less scheduled", arXiv:2405.15682, equations 3-5, with the
weights of its section 4 (squares of the rates; r is the package's).
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from bpx.optimizers import _schedule_free as free
from bpx.spec import Optimizer, Options, Reject

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return free.init(p)


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    warmup_steps: int,
    r: float,
    weight_lr_power: float,
    late_warmup: bool,
) -> tuple[Array, State]:
    size = free.rate(t, lr, warmup_steps)
    move = free.rate(t - 1, lr, warmup_steps) if late_warmup else size
    g = g + weight_decay * p
    z = state["z"] - move * g
    c, group = free.averaged(state, t, size, r, weight_lr_power)
    x = (1 - c) * state["x"] + c * z
    y = (1 - momentum) * z + momentum * x
    return y, {"z": z, "x": x, **group}


def check(options: Options) -> None:
    free.check("schedule_free_sgd", options, options["momentum"])


SPEC = Optimizer(
    name="schedule_free_sgd",
    path="optimizers/schedule_free_sgd",
    doc=__doc__,
    options={
        "lr": 1.0,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "warmup_steps": 0,
        "r": 0.0,
        "weight_lr_power": 2.0,
        "late_warmup": False,
    },
    state=("z", "x", "weight_sum", "lr_max"),
    shared=("weight_sum", "lr_max"),
    derived=("x",),
    init=init,
    step=step,
    params_at=free.params_at,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.2, "weight_lr_power": 1.0},
        {"lr": 0.2, "momentum": 0.6, "warmup_steps": 5, "r": 1.5},
        {"lr": 0.25, "momentum": 0.8, "warmup_steps": 4, "late_warmup": True, "weight_decay": 0.1},
    ),
    rejects=(
        Reject("lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("momentum is 0.0, expected a number between 0 and 1", {}, {"momentum": 0.0}),
        Reject("momentum is 1.0, expected a number between 0 and 1", {}, {"momentum": 1.0}),
        Reject("weight_decay is -1, expected a number at least 0", {}, {"weight_decay": -1}),
        Reject("warmup_steps is -1, expected a number at least 0", {}, {"warmup_steps": -1}),
        Reject("r is -1, expected a number at least 0", {}, {"r": -1}),
        Reject("weight_lr_power is -1, expected a number", {}, {"weight_lr_power": -1}),
    ),
)
