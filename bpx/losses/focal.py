r"""Focal loss: binary cross-entropy of logits in which well-classified elements count for less.

    p    = sigmoid(logits),  q = 1 - p = sigmoid(-logits)
    ce   = target * softplus(-logits) + (1 - target) * softplus(logits)
    miss = target * q + (1 - target) * p
    w    = alpha * target + (1 - alpha) * (1 - target) | 1          with alpha | alpha=None
    loss = w * miss^gamma * ce
    y    = mean(loss) | sum(loss) | loss

softplus(z) = log(1 + exp(z)). A target between 0 and 1 is blended line by line, as written, and has
a gradient. The paper divides the sum by the number of anchors that are assigned to an object: take
reduction "sum" for it. The mean over nothing is 0.
Source: Lin, Goyal, Girshick, He, Dollar 2017, "Focal Loss for Dense Object Detection",
arXiv:1708.02002, eq. 5 and appendix A.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case, Options, Reject, number, require


def _top(z: Any) -> Any:
    """What exp(z) is shifted by: none for an infinite z."""
    return np.where(np.isinf(z.real), 0, np.maximum(z.real, 0))


def _softplus(z: Any) -> Any:
    top = _top(z)
    return top + np.log(np.exp(-top) + np.exp(z - top))


def _sigmoid(z: Any) -> Any:
    top = _top(z)
    p = np.exp(z - top) / (np.exp(-top) + np.exp(z - top))
    return np.where(np.isposinf(z.real), 1, p)


def _lines(z: Any, target: Any, alpha: float | None) -> Any:
    ce = target * _softplus(-z) + (1 - target) * _softplus(z)
    miss = target * _sigmoid(-z) + (1 - target) * _sigmoid(z)
    w = np.ones_like(target) if alpha is None else alpha * target + (1 - alpha) * (1 - target)
    return ce, miss, w


def f(z: Any, target: Any, *, alpha: float | None, gamma: float) -> Any:
    ce, miss, w = _lines(z, target, alpha)
    return w * miss**gamma * ce


def adjoint(dloss: Any, z: Any, target: Any, *, alpha: float | None, gamma: float) -> Any:
    ce, miss, w = _lines(z, target, alpha)
    p, q = _sigmoid(z), _sigmoid(-z)
    dw = dloss * miss**gamma * ce  # loss = w * miss^gamma * ce
    dce = dloss * w * miss**gamma
    dmiss = dloss * w * ce * gamma * miss ** (gamma - 1) if gamma else np.zeros_like(miss)
    dtarget = np.zeros_like(target)
    if alpha is not None:
        dtarget = dtarget + dw * alpha - dw * (1 - alpha)  # w = alpha * target + (1 - alpha) * ...
    dtarget = dtarget + dmiss * q - dmiss * p  # miss = target * q + (1 - target) * p
    dq = dmiss * target
    dp = dmiss * (1 - target)
    dtarget = dtarget + dce * _softplus(-z) - dce * _softplus(z)  # ce = target * softplus(-z) + ...
    dz = -dce * target * q + dce * (1 - target) * p  # softplus' = sigmoid
    dz = dz - dq * q * p  # q = sigmoid(-z)
    dz = dz + dp * p * q  # p = sigmoid(z)
    return dz, dtarget


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    return {"logits": 2 * draw(*shape), "target": np.where(draw(*shape) > 0, 1.0, 0.0)}


def edges(draw: Any) -> Iterator[Case]:
    yield Case("soft target", {"logits": draw(3, 4), "target": draw.uniform(3, 4)})
    yield Case("wide", {**draws(draw, 7), "logits": 20 * draw(7)}, {"reduction": "none"})


def check(options: Options) -> None:
    alpha, gamma = options["alpha"], options["gamma"]
    if alpha is not None:
        number("focal", "alpha", alpha)
        require(0 <= alpha <= 1, f"focal: alpha is {alpha}, expected 0 to 1, or None")
    number("focal", "gamma", gamma)
    require(gamma >= 0, f"focal: gamma is {gamma}, expected at least 0")


_SHAPES = {"logits": (3, 5), "target": (3, 5)}

SPEC = terms(
    "focal",
    __doc__,
    (Arg("logits", "*N"), Arg("target", "*N", domain=(0.0, 1.0))),
    f,
    adjoint,
    draws,
    options={"alpha": 0.25, "gamma": 2.0},
    loud=({"alpha": None, "gamma": 0.5}, {"alpha": 0.75, "gamma": 0.0}),
    edges=edges,
    check=check,
    rejects=(
        Reject("alpha is -1.0, expected 0 to 1, or None", _SHAPES, {"alpha": -1.0}),
        Reject("alpha is 'half', expected a number", _SHAPES, {"alpha": "half"}),
        Reject("gamma is -0.5, expected at least 0", _SHAPES, {"gamma": -0.5}),
        Reject("gamma is None, expected a number", _SHAPES, {"gamma": None}),
    ),
)
