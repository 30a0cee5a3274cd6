r"""AdamW: Adam with decoupled weight decay, per element.

    p <- p - lr * weight_decay * p                     decay first, on the old p
    m <- b1 * m + (1 - b1) * g                         first moment
    v <- b2 * v + (1 - b2) * g^2                       second moment
    p <- p - lr * m / (1 - b1^t) / (sqrt(v / (1 - b2^t) + eps_root) + eps)        t = 1, 2, ...

The decay is multiplied by lr (the paper multiplies it by its schedule alone), so a schedule of lr
scales both terms. With amsgrad v is replaced in the last line by v_max <- max(v_max, v), the
maximum before the bias correction. With nesterov the factor m / (1 - b1^t) becomes
b1 * m / (1 - b1^(t+1)) + (1 - b1) * g / (1 - b1^t). With eps_hat
eps is divided by sqrt(1 - b2^t) (see adam). torch.optim.AdamW has weight_decay 0.01 and no
nesterov or eps_root; optax.adamw has weight_decay 1e-4 and no amsgrad.

Source: Loshchilov, Hutter 2019, "Decoupled weight decay regularization", arXiv:1711.05101,
algorithm 2; amsgrad: Reddi, Kale, Kumar 2018, arXiv:1904.09237, algorithm 2; nesterov: Dozat 2016,
"Incorporating Nesterov momentum into Adam", ICLR workshop, algorithm 2.
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


def init(p: Array, *, amsgrad: bool = False, **options: Any) -> State:
    names = ("m", "v", "v_max") if amsgrad else ("m", "v")
    return {name: np.zeros_like(p) for name in names}


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
    amsgrad: bool,
    nesterov: bool,
    eps_root: float,
    eps_hat: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    p = p - lr * weight_decay * p
    m = b1 * state["m"] + (1 - b1) * g
    v = b2 * state["v"] + (1 - b2) * g * g
    out = {"m": m, "v": v}
    if amsgrad:
        out["v_max"] = v = np.maximum(state["v_max"], v)
    m_hat = m / (1 - b1**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    c2 = 1 - b2**t
    v_hat = v / c2
    if eps_hat:
        eps = eps / np.sqrt(c2)
    p = p - lr * m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return p, out


def check(options: Options) -> None:
    non_negative("adamw", options, "lr", "eps", "weight_decay", "eps_root")
    check_betas("adamw", options)


SPEC = Optimizer(
    name="adamw",
    path="optimizers/adamw",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 1e-2,
        "amsgrad": False,
        "nesterov": False,
        "eps_root": 0.0,
        "eps_hat": False,
    },
    state=("m", "v", "v_max"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.6},
        {"lr": 0.2, "betas": (0.6, 0.7), "amsgrad": True, "weight_decay": 0.3},
        {"lr": 0.2, "betas": (0.8, 0.6), "eps_root": 1e-4, "weight_decay": 0.2},
        {"lr": 0.1, "betas": (0.6, 0.8), "nesterov": True, "weight_decay": 0.4},
        {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "eps_hat": True, "amsgrad": True},
    ),
    rejects=(
        Reject("adamw: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("adamw: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("adamw: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("adamw: eps_root is -1, expected a number at least 0", {}, {"eps_root": -1}),
        Reject("betas is (0.9, 1.0), expected two numbers in [0, 1)", {}, {"betas": (0.9, 1.0)}),
        Reject("adamw: betas is 0.9, expected two numbers in [0, 1)", {}, {"betas": 0.9}),
    ),
)
