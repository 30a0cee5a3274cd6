r"""Squared error, element by element, then the mean, the sum or nothing.

    e    = x - target
    loss = factor * e^2
    y    = mean(loss) | sum(loss) | loss

factor = 0.5 with reduction "sum" is half the sum of squares. The mean over no elements is 0 (torch:
NaN).
Source: Legendre 1805, "Nouvelles methodes pour la determination des orbites des cometes", appendix
(least squares); reductions as in torch.nn.MSELoss.
"""

from __future__ import annotations

from typing import Any

from bpx.losses._difference import difference


def f(e: Any, *, factor: float) -> Any:
    return factor * (e * e)


def df(e: Any, *, factor: float) -> Any:
    return factor * (e + e)


SPEC = difference(
    "mse",
    __doc__,
    f,
    df,
    options={"factor": 1.0},
    loud=({"factor": 0.5}, {"factor": -1.7}, {"factor": 2.5}),
)
