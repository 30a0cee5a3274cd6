"""Algebraic relatives of softplus and sigmoid: a derivative table, one row to a function."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.elementwise import row
from bpx.spec import Op, Options, Reject, number, require

PATH = "activations/sparse"

sparse_plus = row(
    "sparse_plus",
    PATH,
    """Sparse softplus.

    y = 0                x <= -1
    y = (x + 1)^2 / 4    -1 < x < 1
    y = x                x >= 1

The derivative is sparse_sigmoid, which is continuous.
Source: Martins, Astudillo 2016, "From Softmax to Sparsemax", ICML; the loss of two classes.
""",
    f=lambda x: np.where(x.real <= -1, 0.0, np.where(x.real >= 1, x, (x + 1) ** 2 / 4)),
    df=lambda x: np.where(x <= -1, 0.0, np.where(x >= 1, 1.0, (x + 1) / 2)),
    kinks="0 at -1, 1 at 1 (as jax.nn)",
    at=lambda o: (-1.0, 1.0),
)

sparse_sigmoid = row(
    "sparse_sigmoid",
    PATH,
    """Sparse sigmoid.

    y = min(max((x + 1) / 2, 0), 1)

Source: Martins, Astudillo 2016, "From Softmax to Sparsemax", ICML; sparsemax of two classes.
""",
    f=lambda x: np.where(x.real <= -1, 0.0, np.where(x.real >= 1, 1.0, (x + 1) / 2)),
    df=lambda x: np.where((x <= -1) | (x >= 1), 0.0, 0.5),
    kinks="0 at -1 and at 1 (jax.nn has 1/4)",
    at=lambda o: (-1.0, 1.0),
)


def _squareplus_check(dims: Dims, o: Options) -> None:
    number("squareplus", "b", o["b"])
    require(o["b"] > 0, f"squareplus: b is {o['b']}, expected above 0")


def _root(x: Any, b: float) -> Any:
    """sqrt(x^2 + b) over the larger of the two and back: x^2 would overflow."""
    large = np.minimum(np.maximum(np.abs(x.real), b**0.5), 2.0**1000)  # an infinity stays one
    return large * np.sqrt((x / large) ** 2 + b / large / large)


def _squareplus(x: Any, b: float) -> Any:
    root = _root(x, b)
    below = np.where(x.real < 0, x, 0.0)
    return np.where(x.real < 0, b / (2 * (root - below)), (x + root) / 2)


squareplus = row(
    "squareplus",
    PATH,
    """Squareplus.

    y = (x + sqrt(x^2 + b)) / 2

Written as b / 2 / (sqrt(x^2 + b) - x) below 0, where the sum would lose the digits of y.
Source: Barron 2021, "Squareplus: A Softplus-Like Algebraic Rectifier", arXiv:2112.11687.
""",
    f=_squareplus,
    df=lambda x, b: _squareplus(x, b) / _root(x, b),
    options={"b": 4.0},
    loud=({"b": 0.3},),
    check=_squareplus_check,
    rejects=(
        Reject("b is 0, expected above 0", {"x": (2, 3)}, {"b": 0}),
        Reject("b is '4', expected a number", {"x": (2, 3)}, {"b": "4"}),
    ),
)

ALL: tuple[Op, ...] = (sparse_plus, sparse_sigmoid, squareplus)
