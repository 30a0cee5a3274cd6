r"""Absolute error, element by element, then the mean, the sum or nothing.

    e    = x - target
    loss = |e|
    y    = mean(loss) | sum(loss) | loss

The derivative at e = 0 is 0, as in torch (JAX's abs gives 1), and so it is at NaN.
Keeps the sign of e in a byte. The mean over no elements is 0
(torch: NaN).
Source: Boscovich 1757, "De litteraria expeditione per pontificiam ditionem", least absolute
deviations; reductions as in torch.nn.L1Loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.losses._difference import difference


def f(e: Any) -> Any:
    return np.where(e.real < 0, -e, e)


def df(e: Any) -> Any:
    return np.where(e < 0, -1.0, np.where(e > 0, 1.0, 0.0))


SPEC = difference(
    "l1",
    __doc__,
    f,
    df,
    keeps="sign",
    kinks="e = 0: the derivative is 0, as in torch (JAX's abs: 1)",
    at=lambda o: (0.0, 0.25, -0.25, 0.0),
)
