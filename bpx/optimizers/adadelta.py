r"""Adadelta: steps in units of their own running root mean square, per element.

    g <- g + weight_decay * p                          L2 penalty, on the old p
    v <- rho * v + (1 - rho) * g^2                     running mean of squared gradients
    d  = sqrt(u + eps) / sqrt(v + eps) * g             u of the step before
    u <- rho * u + (1 - rho) * d^2                     running mean of squared steps
    p <- p - lr * d

u holds squares of d, before lr, so a schedule of lr does not feed back into the step. The paper has
no lr (1 here). torch.optim.Adadelta and optax.adadelta are the same rule. optax.adadelta without a
learning rate would add d to p, which climbs; bpx_jax asks for one.

Source: Zeiler 2012, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701, algorithm 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return {"v": np.zeros_like(p), "u": np.zeros_like(p)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
) -> tuple[Array, State]:
    g = g + weight_decay * p
    v = rho * state["v"] + (1 - rho) * g * g
    d = np.sqrt(state["u"] + eps) / np.sqrt(v + eps) * g
    u = rho * state["u"] + (1 - rho) * d * d
    p = p - lr * d
    return p, {"v": v, "u": u}


def check(options: Options) -> None:
    non_negative("adadelta", options, "lr", "rho", "eps", "weight_decay")
    rho = options["rho"]
    require(rho <= 1, f"adadelta: rho is {rho!r}, expected a number at most 1")


SPEC = Optimizer(
    name="adadelta",
    path="optimizers/adadelta",
    doc=__doc__,
    options={"lr": 1.0, "rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
    state=("v", "u"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "rho": 0.7, "eps": 1e-3},
        {"lr": 0.6, "rho": 0.8, "eps": 1e-2, "weight_decay": 0.3},
        {"lr": 0.2, "rho": 0.95, "weight_decay": 0.1},
    ),
    rejects=(
        Reject("adadelta: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("adadelta: rho is -0.5, expected a number at least 0", {}, {"rho": -0.5}),
        Reject("adadelta: rho is 1.5, expected a number at most 1", {}, {"rho": 1.5}),
        Reject("adadelta: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("adadelta: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
    ),
)
