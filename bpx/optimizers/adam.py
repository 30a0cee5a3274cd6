r"""Adam: a running mean of gradients over the root of a running mean of their squares, per element.

    g <- g + weight_decay * p                          L2 penalty, on the old p
    m <- b1 * m + (1 - b1) * g                         first moment
    v <- b2 * v + (1 - b2) * g^2                       second moment
    m_hat = m / (1 - b1^t)                             t = 1, 2, ...
    v_hat = v / (1 - b2^t)
    p <- p - lr * m_hat / (sqrt(v_hat + eps_root) + eps)

* decoupled_weight_decay: g is left alone and p <- p - lr * weight_decay * p comes first (AdamW).
* nesterov: m_hat = b1 * m / (1 - b1^(t+1)) + (1 - b1) * g / (1 - b1^t).
* amsgrad: v_hat = v_max / (1 - b2^t) with v_max <- max(v_max, v), as in torch; with max_corrected
  v_max <- max(v_max, v / (1 - b2^t)) and v_hat = v_max, as in optax. The two are different methods.
* eps_hat: eps is divided by sqrt(1 - b2^t), as in keras: it stands beside the uncorrected sqrt(v),
  p <- p - lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps), the end of the paper's section 2.
* bias_correction_mu, bias_correction_nu: False leaves out the division of m, of v.

eps is added after the bias correction, outside the root; eps_root inside it. torch.optim.Adam has
no nesterov, eps_root or max_corrected; optax.adam has neither weight decay nor amsgrad, and
optax.amsgrad is max_corrected.

Source: Kingma, Ba 2015, "Adam: a method for stochastic optimization", arXiv:1412.6980, algorithm
1; amsgrad: Reddi, Kale, Kumar 2018, "On the convergence of Adam and beyond", arXiv:1904.09237,
algorithm 2 (there without bias corrections); nesterov: Dozat 2016, "Incorporating Nesterov momentum
into Adam", ICLR workshop, algorithm 2, with a constant b1 and without its factor b2 in v_hat.
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
    decoupled_weight_decay: bool,
    nesterov: bool,
    eps_root: float,
    eps_hat: bool,
    max_corrected: bool,
    bias_correction_mu: bool,
    bias_correction_nu: bool,
) -> tuple[Array, State]:
    b1, b2 = betas
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    m = b1 * state["m"] + (1 - b1) * g
    v = b2 * state["v"] + (1 - b2) * g * g
    out = {"m": m, "v": v}
    m_hat = m / (1 - b1**t) if bias_correction_mu else m
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    c2 = 1 - b2**t if bias_correction_nu else 1.0
    v_hat = v / c2
    if amsgrad:
        v_max = np.maximum(state["v_max"], v_hat if max_corrected else v)
        out["v_max"] = v_max
        v_hat = v_max if max_corrected else v_max / c2
    if eps_hat:
        eps = eps / np.sqrt(c2)
    p = p - lr * m_hat / (np.sqrt(v_hat + eps_root) + eps)
    return p, out


def check(options: Options) -> None:
    non_negative("adam", options, "lr", "eps", "weight_decay", "eps_root")
    check_betas("adam", options)
    require(
        not options["nesterov"] or bool(options["bias_correction_mu"]),
        "adam: nesterov is True with bias_correction_mu False, expected True (it is built in)",
    )


SPEC = Optimizer(
    name="adam",
    path="optimizers/adam",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "amsgrad": False,
        "decoupled_weight_decay": False,
        "nesterov": False,
        "eps_root": 0.0,
        "eps_hat": False,
        "max_corrected": False,
        "bias_correction_mu": True,
        "bias_correction_nu": True,
    },
    state=("m", "v", "v_max"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3, "betas": (0.7, 0.8), "eps": 1e-3},
        {"lr": 0.2, "betas": (0.6, 0.9), "weight_decay": 0.4, "amsgrad": True},
        {"lr": 0.2, "weight_decay": 0.3, "decoupled_weight_decay": True, "eps": 1e-5},
        {"lr": 0.1, "betas": (0.8, 0.7), "eps_root": 1e-4, "eps": 1e-3},
        {"lr": 0.2, "betas": (0.6, 0.8), "nesterov": True},
        {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-2, "eps_hat": True},
        {"lr": 0.1, "betas": (0.7, 0.6), "amsgrad": True, "max_corrected": True, "eps_root": 1e-6},
        {"lr": 0.1, "betas": (0.7, 0.8), "amsgrad": True, "bias_correction_nu": False},
        {
            "lr": 0.1,
            "betas": (0.8, 0.7),
            "amsgrad": True,
            "max_corrected": True,
            "bias_correction_mu": False,
        },
    ),
    rejects=(
        Reject("adam: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("adam: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("adam: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("adam: eps_root is -1, expected a number at least 0", {}, {"eps_root": -1}),
        Reject("betas is (1.0, 0.9), expected two numbers in [0, 1)", {}, {"betas": (1.0, 0.9)}),
        Reject("betas is (0.9, -0.1), expected two numbers", {}, {"betas": (0.9, -0.1)}),
        Reject("betas is (0.9, nan), expected two numbers", {}, {"betas": (0.9, float("nan"))}),
        Reject(
            "adam: nesterov is True with bias_correction_mu False, expected True",
            {},
            {"nesterov": True, "bias_correction_mu": False},
        ),
    ),
)
