r"""Adagrad: steps divided by the root of the sum of all squared gradients, per element.

    g   <- g + weight_decay * p                        L2 penalty, on the old p
    sum <- sum + g^2                                   starts at initial_accumulator_value
    p   <- p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)        t = 1, 2, ...

With decoupled_weight_decay g is left alone and p <- p - lr * weight_decay * p comes first, as in
keras. With eps_in_sqrt the denominator is sqrt(sum + eps), and an element whose sum is still 0
stays where it is. torch.optim.Adagrad is eps_in_sqrt = False with a sum from 0 and eps 1e-10;
optax.adagrad is eps_in_sqrt = True with a sum from 0.1 and eps 1e-7, without lr_decay and
weight_decay.

Source: Duchi, Hazan, Singer 2011, "Adaptive subgradient methods for online learning and stochastic
optimization", JMLR 12, figure 1 with diagonal matrices; eps is the delta of its section 1.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, *, initial_accumulator_value: float = 0.0, **options: Any) -> State:
    return {"sum": np.full_like(p, initial_accumulator_value)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    lr_decay: float,
    weight_decay: float,
    initial_accumulator_value: float,
    eps: float,
    eps_in_sqrt: bool,
    decoupled_weight_decay: bool,
) -> tuple[Array, State]:
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    total = state["sum"] + g * g
    if eps_in_sqrt:
        root = np.where(total > 0, np.sqrt(total + eps), np.inf)
    else:
        root = np.sqrt(total) + eps
    p = p - lr / (1 + (t - 1) * lr_decay) * g / root
    return p, {"sum": total}


def check(options: Options) -> None:
    numbers = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")
    non_negative("adagrad", options, *numbers)


SPEC = Optimizer(
    name="adagrad",
    path="optimizers/adagrad",
    doc=__doc__,
    options={
        "lr": 1e-2,
        "lr_decay": 0.0,
        "weight_decay": 0.0,
        "initial_accumulator_value": 0.0,
        "eps": 1e-10,
        "eps_in_sqrt": False,
        "decoupled_weight_decay": False,
    },
    state=("sum",),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.2, "eps": 1e-3},
        {"lr": 0.2, "lr_decay": 0.3, "eps": 1e-5},
        {"lr": 0.3, "weight_decay": 0.4, "initial_accumulator_value": 0.5},
        {"lr": 0.3, "eps": 1e-2, "eps_in_sqrt": True},
        {"lr": 0.2, "eps": 1e-7, "initial_accumulator_value": 0.1, "eps_in_sqrt": True},
        {"lr": 0.2, "weight_decay": 0.3, "decoupled_weight_decay": True, "eps_in_sqrt": True},
    ),
    rejects=(
        Reject("adagrad: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("adagrad: lr_decay is -1, expected a number", {}, {"lr_decay": -1}),
        Reject("adagrad: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("adagrad: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject(
            "adagrad: initial_accumulator_value is -0.5, expected a number at least 0",
            {},
            {"initial_accumulator_value": -0.5},
        ),
    ),
)
