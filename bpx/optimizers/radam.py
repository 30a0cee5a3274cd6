r"""RAdam: Adam whose step is shrunk while the second moment rests on few gradients, per element.

    g <- g + weight_decay * p                          L2 penalty, on the old p
    m <- b1 * m + (1 - b1) * g                         first moment
    v <- b2 * v + (1 - b2) * g^2                       second moment
    m_hat   = m / (1 - b1^t)                           t = 1, 2, ...
    rho_inf = 2 / (1 - b2) - 1                         length of the average that v tends to
    rho     = rho_inf - 2 * t * b2^t / (1 - b2^t)      its length now
    if rho > threshold:
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        p <- p - lr * r * m_hat * sqrt(1 - b2^t) / (sqrt(v) + eps)
    else:
        p <- p - lr * m_hat

* decoupled_weight_decay: g is left alone and p <- p - lr * weight_decay * p comes first.
* eps_corrected: the denominator is sqrt(v / (1 - b2^t) + eps_root) + eps, eps after the correction.
* inclusive: rho >= threshold in place of rho > threshold.
* nesterov: m_hat = b1 * m / (1 - b1^(t+1)) + (1 - b1) * g / (1 - b1^t).

torch.optim.RAdam has neither eps_root, nesterov nor a threshold other than 5; optax.radam is
eps_corrected and inclusive, without weight decay. The paper has no eps and asks for rho > 4, where
the variance begins to exist; below 4 the formula of r is meaningless, so no threshold is. With b2
at most 0.6 rho never passes 4 and every step is m_hat alone.

Source: Liu, Jiang, He, Chen, Liu, Gao, Han 2020, "On the variance of the adaptive learning rate and
beyond", arXiv:1908.03265, algorithm 2; nesterov: Dozat 2016, ICLR workshop, algorithm 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import betas as check_betas
from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(p: Array, **options: Any) -> State:
    return {"m": np.zeros_like(p), "v": np.zeros_like(p)}


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
    eps_root: float,
    eps_corrected: bool,
    threshold: float,
    inclusive: bool,
    nesterov: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    m = b1 * state["m"] + (1 - b1) * g
    v = b2 * state["v"] + (1 - b2) * g * g
    d = m / (1 - b1**t)
    if nesterov:
        d = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    c2 = 1 - b2**t
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf - 2 * t * b2**t / c2
    if rho >= threshold if inclusive else rho > threshold:
        r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        if eps_corrected:
            d = r * d / (np.sqrt(v / c2 + eps_root) + eps)
        else:
            d = r * d * np.sqrt(c2) / (np.sqrt(v) + eps)
    p = p - lr * d
    return p, {"m": m, "v": v}


def check(options: Options) -> None:
    non_negative("radam", options, "lr", "eps", "weight_decay", "eps_root", "threshold")
    check_betas("radam", options)
    inside, threshold = options["eps_root"], options["threshold"]
    require(
        inside == 0 or options["eps_corrected"],
        f"radam: eps_root is {inside!r} with eps_corrected False, expected 0",
    )
    require(
        threshold >= 4,
        f"radam: threshold is {threshold!r}, expected at least 4 (the variance is infinite below)",
    )


EXACT = 0.8397685748659791  # the sixth rho of this b2 is 5.0 in float64: > and >= differ

SPEC = Optimizer(
    name="radam",
    path="optimizers/radam",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "decoupled_weight_decay": False,
        "eps_root": 0.0,
        "eps_corrected": False,
        "threshold": 5.0,
        "inclusive": False,
        "nesterov": False,
    },
    state=("m", "v"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.99), "eps": 1e-2},
        {"lr": 0.2, "betas": (0.6, 0.95), "weight_decay": 0.4, "eps": 0.1},
        {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.3, "decoupled_weight_decay": True},
        {"lr": 0.2, "betas": (0.7, EXACT)},
        {"lr": 0.2, "betas": (0.7, EXACT), "eps_corrected": True, "inclusive": True},
        {
            "lr": 0.1,
            "betas": (0.8, 0.97),
            "eps_corrected": True,
            "inclusive": True,
            "eps": 1e-2,
            "eps_root": 1e-3,
        },
        {
            "lr": 0.1,
            "betas": (0.6, 0.99),
            "eps_corrected": True,
            "inclusive": True,
            "nesterov": True,
            "threshold": 4.5,
        },
    ),
    rejects=(
        Reject("radam: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("radam: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("radam: eps_root is -1, expected a number at least 0", {}, {"eps_root": -1}),
        Reject("radam: eps_root is 0.1 with eps_corrected False", {}, {"eps_root": 0.1}),
        Reject("radam: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("radam: threshold is 3.5, expected at least 4", {}, {"threshold": 3.5}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
    ),
)
