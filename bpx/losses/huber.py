r"""Huber loss: half the squared error up to delta, then a straight line of slope delta.

    e    = x - target
    loss = e^2 / 2                     |e| < delta
         = delta * (|e| - delta / 2)   otherwise
    y    = mean(loss) | sum(loss) | loss

The derivative is continuous: min(max(e, -delta), delta). The second one jumps from 1 to 0 at |e| =
delta. The mean over no elements is 0 (torch: NaN).
Source: Huber 1964, "Robust Estimation of a Location Parameter", doi:10.1214/aoms/1177703732,
section 5; as in torch.nn.HuberLoss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.losses._difference import difference
from bpx.spec import Reject, require


def f(e: Any, *, delta: float) -> Any:
    size = np.where(e.real < 0, -e, e)
    return np.where(size.real < delta, 0.5 * e * e, delta * (size - 0.5 * delta))


def df(e: Any, *, delta: float) -> Any:
    sign = np.where(e < 0, -1.0, 1.0)
    return np.where(np.abs(e) >= delta, delta * sign, 0.5 * (e + e))


SPEC = difference(
    "huber",
    __doc__,
    f,
    df,
    options={"delta": 1.0},
    loud=({"delta": 0.75}, {"delta": 2.5}),
    kinks="|e| = delta: both branches give the same derivative, the second one is 0 there",
    at=lambda o: (o["delta"], -o["delta"], 0.0, 2 * o["delta"], -0.5 * o["delta"]),
    check=lambda o: require(
        o["delta"] > 0, f"huber: delta is {o['delta']}, expected a number above 0"
    ),
    rejects=(
        Reject("delta is 0, expected a number", {"x": (5,), "target": (5,)}, {"delta": 0}),
        Reject("delta is -1.5, expected", {"x": (5,), "target": (5,)}, {"delta": -1.5}),
    ),
)
