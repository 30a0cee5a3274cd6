r"""LARS: stochastic gradient descent whose steps are scaled, array by array, to the array's norm.

    d     = g + weight_decay * p
    trust = trust_coefficient * |p| / (|g| + weight_decay * |p| + eps)      |.|: the norm
    buf   <- momentum * buf - lr * trust * d
    p     <- p + buf, or p + momentum * buf - lr * trust * d if nesterov

trust is 1 where |p| or the sum under it, without eps, is 0: a zero array would never move, and
0 / 0 is not a number. The decay is scaled by trust too. With norm_of_sum the denominator is
|d| + eps. With lr_in_momentum = False the buffer holds steps not yet multiplied by -lr
(buf <- momentum * buf + trust * d and p <- p - lr * buf), which differs once lr changes. Without
momentum there is no buffer. optax.lars is norm_of_sum = True and has weight decay 0. The paper's
own schedule, lr * (1 - t / T)^2, is the caller's.

Source: You, Gitman, Ginsburg 2017, "Large batch training of convolutional networks",
arXiv:1708.03888, algorithm 1 (there the buffer has the opposite sign, and no zero is considered);
momentum 0.9, decay 5e-4 and coefficient 0.001 are its section 5, a default lr it does not have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, *, momentum: float = 0.0, **options: Any) -> State:
    return {"buf": np.zeros_like(p)} if momentum != 0 else {}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    trust_coefficient: float,
    eps: float,
    nesterov: bool,
    norm_of_sum: bool,
    lr_in_momentum: bool,
) -> tuple[Array, State]:
    d = g + weight_decay * p
    size = np.linalg.norm(p)
    below = np.linalg.norm(d) if norm_of_sum else np.linalg.norm(g) + weight_decay * size
    trust = trust_coefficient * size / (below + eps) if min(size, below) > 0 else 1.0
    inside, outside = (-lr, 1.0) if lr_in_momentum else (1.0, -lr)
    d = inside * (trust * d)
    if momentum == 0:
        return p + outside * d, {}
    buf = momentum * state["buf"] + d
    d = d + momentum * buf if nesterov else buf
    return p + outside * d, {"buf": buf}


def check(options: Options) -> None:
    numbers = ("lr", "momentum", "weight_decay", "trust_coefficient", "eps")
    non_negative("lars", options, *numbers)
    momentum = options["momentum"]
    require(
        not options["nesterov"] or momentum > 0,
        f"lars: nesterov is True with momentum {momentum!r}, expected momentum above 0",
    )


SPEC = Optimizer(
    name="lars",
    path="optimizers/lars",
    doc=__doc__,
    options={
        "lr": 1.0,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "trust_coefficient": 1e-3,
        "eps": 0.0,
        "nesterov": False,
        "norm_of_sum": False,
        "lr_in_momentum": True,
    },
    state=("buf",),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.2, "trust_coefficient": 0.3, "eps": 0.1},
        {"lr": 0.2, "momentum": 0.6, "weight_decay": 0.3, "nesterov": True, "norm_of_sum": True},
        {"lr": 0.3, "momentum": 0.8, "nesterov": True, "lr_in_momentum": False},
        {"lr": 0.2, "momentum": 0.0, "trust_coefficient": 0.2, "lr_in_momentum": False},
        {
            "lr": 0.2,
            "momentum": 0.5,
            "weight_decay": 0.0,
            "trust_coefficient": 0.4,
            "eps": 1e-3,
            "norm_of_sum": True,
        },
    ),
    rejects=(
        Reject("lars: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("lars: momentum is -1, expected a number at least 0", {}, {"momentum": -1}),
        Reject("lars: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("lars: trust_coefficient is -1, expected a number", {}, {"trust_coefficient": -1}),
        Reject("lars: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject(
            "lars: nesterov is True with momentum 0.0, expected momentum above 0",
            {},
            {"nesterov": True, "momentum": 0.0},
        ),
    ),
)
