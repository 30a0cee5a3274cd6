r"""Adamax: a running mean of gradients over a decaying maximum of their sizes, per element.

    g <- g + weight_decay * p                          L2 penalty, on the old p
    m <- b1 * m + (1 - b1) * g                         first moment
    u <- max(b2 * u, |g| + eps)                        infinity moment; it needs no correction
    p <- p - lr / (1 - b1^t) * m / u                   t = 1, 2, ...

With decoupled_weight_decay g is left alone and p <- p - lr * weight_decay * p comes first. eps is
added to |g| inside the maximum, as in torch and optax; with eps_outside the maximum is of |g| and
eps is added to u in the last line alone, as in keras. The paper has none and divides 0 by 0 where a
gradient has been 0 from the start. torch.optim.Adamax has the L2 penalty alone, optax.adamax no
decay, and optax.adamaxw the decoupled one (weight_decay 1e-4).

Source: Kingma, Ba 2015, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm 2;
the decoupled decay: Loshchilov, Hutter 2019, arXiv:1711.05101.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import betas as check_betas
from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return {"m": np.zeros_like(p), "u": np.zeros_like(p)}


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
    decoupled_weight_decay: bool,
    eps_outside: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    m = b1 * state["m"] + (1 - b1) * g
    u = np.maximum(b2 * state["u"], np.abs(g) if eps_outside else np.abs(g) + eps)
    p = p - lr / (1 - b1**t) * m / (u + eps if eps_outside else u)
    return p, {"m": m, "u": u}


def check(options: Options) -> None:
    non_negative("adamax", options, "lr", "eps", "weight_decay")
    check_betas("adamax", options)


SPEC = Optimizer(
    name="adamax",
    path="optimizers/adamax",
    doc=__doc__,
    options={
        "lr": 2e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "decoupled_weight_decay": False,
        "eps_outside": False,
    },
    state=("m", "u"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3},
        {"lr": 0.2, "betas": (0.6, 0.9), "weight_decay": 0.4, "eps": 1e-2},
        {"lr": 0.1, "betas": (0.8, 0.7), "weight_decay": 0.3, "decoupled_weight_decay": True},
        {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-2, "eps_outside": True},
    ),
    rejects=(
        Reject("adamax: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("adamax: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("adamax: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject(
            "adamax: weight_decay is -2, expected a number",
            {},
            {"weight_decay": -2, "decoupled_weight_decay": True},
        ),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
    ),
)
