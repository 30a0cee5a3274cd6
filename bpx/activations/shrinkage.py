"""Shrinkage and thresholds: a derivative table, one row to a function. NaN stays NaN."""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "activations/shrinkage"


def _softshrink_check(dims: Dims, o: Options) -> None:
    number("softshrink", "lambd", o["lambd"])
    require(o["lambd"] >= 0, f"softshrink: lambd is {o['lambd']}, expected at least 0")


softshrink = row(
    "softshrink",
    PATH,
    """Soft shrinkage.

    y = x - lambd      x >  lambd
    y = 0            |x| <= lambd
    y = x + lambd      x < -lambd

Source: Donoho 1995, "De-noising by soft-thresholding", IEEE Transactions on Information Theory
41(3).
""",
    f=lambda x, lambd: np.where(
        np.abs(x.real) <= lambd, 0.0, np.where(x.real < 0, x + lambd, x - lambd)
    ),
    df=lambda x, lambd: np.where(np.abs(x) <= lambd, 0.0, 1.0),
    options={"lambd": 0.5},
    loud=({"lambd": 1.25},),
    kinks="0 at -lambd and at lambd (as torch)",
    at=lambda o: (-o["lambd"], o["lambd"]),
    check=_softshrink_check,
    rejects=(
        Reject("lambd is -0.5, expected at least 0", {"x": (2, 3)}, {"lambd": -0.5}),
        Reject("lambd is None, expected a number", {"x": (2, 3)}, {"lambd": None}),
    ),
)


def _tanhshrink(x: Any) -> Any:
    near = np.where(np.abs(x.real) < 1, x, 0.0)
    # (x cosh x - sinh x) / cosh x, all terms of whose series have one sign
    series = sum(2 * k / factorial(2 * k + 1) * near ** (2 * k + 1) for k in range(9, 0, -1))
    return np.where(np.abs(x.real) < 1, series / np.cosh(near), x - np.tanh(x))


tanhshrink = row(
    "tanhshrink",
    PATH,
    """Tanh shrinkage.

    y = x - tanh(x)

Written as a series below 1, where the difference would lose the digits of y, which is x^3 / 3 near
0.
Source: elementary; d y / dx = tanh(x)^2.
""",
    f=_tanhshrink,
    df=lambda x: np.tanh(x) ** 2,
)


def _threshold_check(dims: Dims, o: Options) -> None:
    number("threshold", "threshold", o["threshold"])
    number("threshold", "value", o["value"])


threshold = row(
    "threshold",
    PATH,
    """Threshold.

    y = x          x >  threshold
    y = value      x <= threshold

Keeps where x <= threshold.
Source: elementary; y jumps at the threshold by value - threshold, which no gradient sees.
""",
    f=lambda x, threshold, value: np.where(x.real <= threshold, value, x),
    df=lambda x, threshold, value: np.where(x <= threshold, 0.0, 1.0),
    mask=lambda x, threshold, value: x <= threshold,
    options={"threshold": 0.0, "value": 0.0},
    loud=({"threshold": 0.7, "value": -1.5},),
    kinks="0 at threshold (as torch)",
    at=lambda o: (o["threshold"],),
    check=_threshold_check,
    rejects=(
        Reject("threshold is '0', expected a number", {"x": (2, 3)}, {"threshold": "0"}),
        Reject("value is None, expected a number", {"x": (2, 3)}, {"value": None}),
    ),
)

ALL: tuple[Op, ...] = (softshrink, tanhshrink, threshold)
