r"""NAdam: Adam that looks one step ahead along a momentum which warms up, per element.

    g  <- g + weight_decay * p                         L2 penalty, on the old p
    mu  = b1 * (1 - 0.5 * 0.96^(t * momentum_decay))   momentum of this step, t = 1, 2, ...
    mu' = the same with t + 1                          momentum of the next step
    P  <- P * mu                                       product of all momenta so far, from 1
    m  <- b1 * m + (1 - b1) * g                        first moment
    v  <- b2 * v + (1 - b2) * g^2                      second moment
    m_hat = mu' * m / (1 - P * mu') + (1 - mu) * g / (1 - P)
    p  <- p - lr * m_hat / (sqrt(v / (1 - b2^t)) + eps)

With decoupled_weight_decay g is left alone and p <- p - lr * weight_decay * p comes first. The
momentum goes from b1 / 2 to b1; momentum_decay 0.004 is 1 / 250 of a halving by 0.96 a step. The
moment itself decays by b1 and not by mu, as in torch.

This is torch.optim.NAdam. optax.nadam is another method: a constant momentum (mu = b1 at every
step), which is the entry adam with nesterov; no setting of either gives the other.

Source: Dozat 2016, "Incorporating Nesterov momentum into Adam", ICLR workshop, algorithm 2, without
its factor b2 in v_hat.
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
    return {"mu_product": np.ones((), p.dtype), "m": np.zeros_like(p), "v": np.zeros_like(p)}


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
    momentum_decay: float,
    decoupled_weight_decay: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    mu = b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    ahead = b1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    product = np.asarray(state["mu_product"] * mu)
    m = b1 * state["m"] + (1 - b1) * g
    v = b2 * state["v"] + (1 - b2) * g * g
    m_hat = ahead * m / (1 - product * ahead) + (1 - mu) * g / (1 - product)
    p = p - lr * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)
    return p, {"mu_product": product, "m": m, "v": v}


def check(options: Options) -> None:
    non_negative("nadam", options, "lr", "eps", "weight_decay", "momentum_decay")
    check_betas("nadam", options)


SPEC = Optimizer(
    name="nadam",
    path="optimizers/nadam",
    doc=__doc__,
    options={
        "lr": 2e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "momentum_decay": 4e-3,
        "decoupled_weight_decay": False,
    },
    state=("mu_product", "m", "v"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3, "momentum_decay": 0.5},
        {
            "lr": 0.2,
            "betas": (0.6, 0.9),
            "weight_decay": 0.4,
            "momentum_decay": 3.0,
            "eps": 0.1,
        },
        {
            "lr": 0.1,
            "betas": (0.8, 0.7),
            "weight_decay": 0.3,
            "decoupled_weight_decay": True,
            "eps": 1e-2,
        },
    ),
    rejects=(
        Reject("nadam: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("nadam: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("nadam: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("nadam: momentum_decay is -1, expected a number", {}, {"momentum_decay": -1}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
    ),
)
