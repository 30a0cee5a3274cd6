r"""RMSprop: steps divided by the root of a running mean of squared gradients, per element.

    g <- g + weight_decay * p                          L2 penalty, on the old p
    v <- alpha * v + (1 - alpha) * g^2                 starts at initial_scale
    m <- alpha * m + (1 - alpha) * g                   if centered
    s  = v, or max(v - m^2, 0) if centered             variance about the running mean
    d  = g / (sqrt(s) + eps), or g / sqrt(s + eps) if eps_in_sqrt
    buf <- momentum * buf + d
    d  = d + momentum * buf  if nesterov, else buf
    p <- p - lr * d

Without momentum there is no buffer. With decoupled_weight_decay g is left alone and
p <- p - lr * weight_decay * p comes first, as in keras. With bias_correction v and m are divided by
1 - alpha^t in s. With lr_in_momentum the buffer holds steps already multiplied by -lr
(buf <- momentum * buf - lr * d and p <- p + buf), which differs once lr changes. In exact
arithmetic v - m^2 cannot be negative; the maximum repairs rounding alone, where torch and optax
would give NaN.
torch.optim.RMSprop has eps outside the root, alpha 0.99, lr_in_momentum = False and no nesterov;
optax.rmsprop has eps inside (an option), alpha 0.9, lr_in_momentum = True and no weight decay.

Source: Tieleman, Hinton 2012, "Lecture 6.5 - rmsprop", Coursera, slide 29; centered: Graves 2013,
"Generating sequences with recurrent neural networks", arXiv:1308.0850, equations 38-41 (there eps
is inside the root).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.optimizers._limits import non_negative
from bpx.spec import Optimizer, Options, Reject, require

Array = NDArray[Any]
State = dict[str, Array]


def init(
    p: Array,
    *,
    initial_scale: float = 0.0,
    centered: bool = False,
    momentum: float = 0.0,
    **options: Any,
) -> State:
    state = {"v": np.full_like(p, initial_scale)}
    if centered:
        state["m"] = np.zeros_like(p)
    if momentum != 0:
        state["buf"] = np.zeros_like(p)
    return state


def step(
    p: Array,
    g: Array,
    state: State,
    t: int,
    *,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    centered: bool,
    nesterov: bool,
    eps_in_sqrt: bool,
    initial_scale: float,
    bias_correction: bool,
    lr_in_momentum: bool,
    decoupled_weight_decay: bool,
) -> tuple[Array, State]:
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    c = 1 - alpha**t if bias_correction else 1.0
    v = alpha * state["v"] + (1 - alpha) * g * g
    out = {"v": v}
    s = v / c
    if centered:
        m = alpha * state["m"] + (1 - alpha) * g
        out["m"] = m
        s = np.maximum(s - (m / c) ** 2, 0)
    d = g / np.sqrt(s + eps) if eps_in_sqrt else g / (np.sqrt(s) + eps)
    if momentum == 0:
        return p - lr * d, out
    inside, outside = (-lr, 1.0) if lr_in_momentum else (1.0, -lr)
    d = inside * d
    buf = momentum * state["buf"] + d
    out["buf"] = buf
    d = d + momentum * buf if nesterov else buf
    p = p + outside * d
    return p, out


def check(options: Options) -> None:
    numbers = ("lr", "alpha", "eps", "weight_decay", "momentum", "initial_scale")
    non_negative("rmsprop", options, *numbers)
    alpha, momentum = options["alpha"], options["momentum"]
    require(alpha < 1, f"rmsprop: alpha is {alpha!r}, expected a number below 1")
    require(
        not options["nesterov"] or momentum > 0,
        f"rmsprop: nesterov is True with momentum {momentum!r}, expected momentum above 0",
    )


SPEC = Optimizer(
    name="rmsprop",
    path="optimizers/rmsprop",
    doc=__doc__,
    options={
        "lr": 1e-2,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "centered": False,
        "nesterov": False,
        "eps_in_sqrt": False,
        "initial_scale": 0.0,
        "bias_correction": False,
        "lr_in_momentum": False,
        "decoupled_weight_decay": False,
    },
    state=("v", "m", "buf"),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.2, "alpha": 0.7, "eps": 1e-3},
        {"lr": 0.2, "alpha": 0.8, "weight_decay": 0.3, "momentum": 0.6, "eps": 0.1},
        {"lr": 0.1, "alpha": 0.6, "centered": True, "eps": 1e-4},
        {"lr": 0.1, "alpha": 0.7, "centered": True, "momentum": 0.8},
        {"lr": 0.2, "alpha": 0.8, "eps": 1e-3, "eps_in_sqrt": True},
        {"lr": 0.2, "alpha": 0.8, "weight_decay": 0.3, "decoupled_weight_decay": True},
        {"lr": 0.2, "alpha": 0.7, "eps": 1e-4, "initial_scale": 0.5, "bias_correction": True},
        {"alpha": 0.6, "momentum": 0.7, "eps": 1e-2, "eps_in_sqrt": True, "lr_in_momentum": True},
        {"lr": 0.3, "alpha": 0.8, "momentum": 0.6, "nesterov": True, "lr_in_momentum": True},
        {"lr": 0.1, "alpha": 0.6, "centered": True, "eps_in_sqrt": True, "eps": 1e-4},
        {"alpha": 0.7, "centered": True, "bias_correction": True, "initial_scale": 0.4},
    ),
    rejects=(
        Reject("rmsprop: lr is -1, expected a number at least 0", {}, {"lr": -1}),
        Reject("rmsprop: eps is -1, expected a number at least 0", {}, {"eps": -1}),
        Reject("rmsprop: momentum is -1, expected a number at least 0", {}, {"momentum": -1}),
        Reject("rmsprop: weight_decay is -1, expected a number", {}, {"weight_decay": -1}),
        Reject("rmsprop: initial_scale is -1, expected a number", {}, {"initial_scale": -1}),
        Reject("rmsprop: alpha is -0.5, expected a number at least 0", {}, {"alpha": -0.5}),
        Reject("rmsprop: alpha is 1.0, expected a number below 1", {}, {"alpha": 1.0}),
        Reject("rmsprop: nesterov is True with momentum 0.0", {}, {"nesterov": True}),
    ),
)
