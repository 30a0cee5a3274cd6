r"""Lion: steps of one size, by the sign of a mean of momentum and gradient, per element.

    p <- p - lr * weight_decay * p                     decoupled decay, on the old p
    c  = b1 * m + (1 - b1) * g                         the direction weighs g more than m does
    p <- p - lr * sign(c)
    m <- b2 * m + (1 - b2) * g                         momentum

The decay is multiplied by lr, as in the paper. Every element moves by lr, however small its
gradient; where momentum and gradient are 0 it stays. One array of state, and no step count in it.
torch.optim has no Lion: bpx_torch.optim.Lion has weight_decay 0; optax.lion has 1e-3.

Source: Chen, Liang, Huang, Real, Wang, Liu, Pham, Dong, Luong, Hsieh, Lu, Le 2023, "Symbolic
discovery of optimization algorithms", arXiv:2302.06675, algorithm 2.
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
    return {"m": np.zeros_like(p)}


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> tuple[Array, State]:
    b1, b2 = betas
    c = b1 * state["m"] + (1 - b1) * g
    p = p - lr * (np.sign(c) + weight_decay * p)
    m = b2 * state["m"] + (1 - b2) * g
    return p, {"m": m}


def check(options: Options) -> None:
    non_negative("lion", options, "lr", "weight_decay")
    check_betas("lion", options)


SPEC = Optimizer(
    name="lion",
    path="optimizers/lion",
    doc=__doc__,
    options={"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.0},
    state=("m",),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.1, "betas": (0.6, 0.8)},
        {"lr": 0.2, "betas": (0.8, 0.7), "weight_decay": 0.3},
    ),
    rejects=(
        Reject("lion: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("lion: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
    ),
)
