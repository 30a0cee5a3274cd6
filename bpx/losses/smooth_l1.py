r"""Smooth L1 loss: a parabola up to beta, then the absolute error less beta / 2.

    e    = x - target
    loss = e^2 / (2 beta)      |e| < beta
         = |e| - beta / 2      otherwise
    y    = mean(loss) | sum(loss) | loss

It is huber(delta=beta) / beta, and with beta = 0 the absolute error, with derivative 0 at e = 0 and
at NaN.
The mean over no elements is 0 (torch: NaN).
Source: Girshick 2015, "Fast R-CNN", arXiv:1504.08083, equation 3; beta as in torch.nn.SmoothL1Loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.losses._difference import difference
from bpx.spec import Reject, require


def f(e: Any, *, beta: float) -> Any:
    size = np.where(e.real < 0, -e, e)
    if beta == 0:
        return size
    return np.where(size.real < beta, 0.5 * e * e / beta, size - 0.5 * beta)


def df(e: Any, *, beta: float) -> Any:
    outer = np.where(e < 0, -1.0, np.where(e > 0, 1.0, 0.0))
    if beta == 0:
        return outer
    return np.where(np.abs(e) >= beta, outer, 0.5 * (e + e) / beta)


SPEC = difference(
    "smooth_l1",
    __doc__,
    f,
    df,
    options={"beta": 1.0},
    loud=({"beta": 0.75}, {"beta": 2.5}, {"beta": 0.0}),
    kinks="|e| = beta: both branches give the same derivative; beta = 0 and e = 0: it is 0",
    at=lambda o: (o["beta"], -o["beta"], 0.0, 2 * o["beta"], -0.5 * o["beta"]),
    check=lambda o: require(
        o["beta"] >= 0, f"smooth_l1: beta is {o['beta']}, expected a number of at least 0"
    ),
    rejects=(
        Reject("beta is -0.5, expected a number", {"x": (5,), "target": (5,)}, {"beta": -0.5}),
    ),
)
