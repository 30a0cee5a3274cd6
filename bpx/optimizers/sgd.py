r"""Stochastic gradient descent with momentum, per element.

    g   <- g + weight_decay * p                        L2 penalty, on the old p
    buf <- g                                           first step
    buf <- momentum * buf + (1 - dampening) * g        later steps
    d    = g + momentum * buf    if nesterov, else buf
    p   <- p - lr * d

* decoupled_weight_decay: g is left alone and p <- p - lr * weight_decay * p comes first (keras).
* lr_in_momentum: the buffer holds steps, -lr * g in the place of g, and p <- p + d, as in keras.

Without momentum there is no buffer and d = g. The first buffer is g itself and not
(1 - dampening) * g, as in torch. The learning rate multiplies the buffer when it is used, so that a
schedule scales the whole velocity, unless lr_in_momentum is True. optax.sgd has neither dampening
nor weight decay.

Source: Sutskever, Martens, Dahl, Hinton 2013, "On the importance of initialization and momentum in
deep learning", ICML, equations 1-4, with the velocity divided by -lr; Polyak 1964 for momentum.
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
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    decoupled_weight_decay: bool,
    lr_in_momentum: bool,
) -> tuple[Array, State]:
    if decoupled_weight_decay:
        p = p - lr * weight_decay * p
    else:
        g = g + weight_decay * p
    if momentum == 0:
        return p - lr * g, {}
    inside, outside = (-lr, 1.0) if lr_in_momentum else (1.0, -lr)
    g = inside * g
    buf = g if t == 1 else momentum * state["buf"] + (1 - dampening) * g
    d = g + momentum * buf if nesterov else buf
    p = p + outside * d
    return p, {"buf": buf}


def check(options: Options) -> None:
    non_negative("sgd", options, "lr", "momentum", "weight_decay")
    momentum, dampening = options["momentum"], options["dampening"]
    require(
        not options["nesterov"] or (momentum > 0 and dampening == 0),
        f"sgd: nesterov is True with momentum {momentum!r} and dampening {dampening!r}, "
        "expected momentum above 0 and dampening 0",
    )


SPEC = Optimizer(
    name="sgd",
    path="optimizers/sgd",
    doc=__doc__,
    options={
        "lr": 1e-3,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
        "decoupled_weight_decay": False,
        "lr_in_momentum": False,
    },
    state=("buf",),
    init=init,
    step=step,
    check=check,
    trials=(
        {},
        {"lr": 0.3},
        {"lr": 0.3, "momentum": 0.8},
        {"lr": 0.2, "momentum": 0.7, "nesterov": True},
        {"lr": 0.2, "momentum": 0.9, "dampening": 0.4},
        {"lr": 0.1, "weight_decay": 0.6},
        {"lr": 0.1, "momentum": 0.6, "weight_decay": 0.3, "nesterov": True},
        {"lr": 0.2, "momentum": 0.7, "nesterov": True, "lr_in_momentum": True},
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.4, "decoupled_weight_decay": True},
    ),
    rejects=(
        Reject("sgd: lr is -0.1, expected a number at least 0", {}, {"lr": -0.1}),
        Reject("sgd: lr is 'fast', expected a number at least 0", {}, {"lr": "fast"}),
        Reject("sgd: lr is nan, expected a number at least 0", {}, {"lr": float("nan")}),
        Reject("sgd: momentum is -1, expected a number at least 0", {}, {"momentum": -1}),
        Reject("sgd: weight_decay is -1, expected a number at least 0", {}, {"weight_decay": -1}),
        Reject("sgd: nesterov is True with momentum 0", {}, {"nesterov": True}),
        Reject(
            "dampening 0.1, expected momentum above 0 and dampening 0",
            {},
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        ),
    ),
)
