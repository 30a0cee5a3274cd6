"""Scalar functions of the toy model: a derivative table, one row to a function."""

from __future__ import annotations

import numpy as np

from bpx.elementwise import row
from bpx.spec import Op

PATH = "activations/scalar"

sin = row(
    "sin",
    PATH,
    """Sine.

    y = sin(x)

x in radians.
Source: elementary; d sin(x) / dx = cos(x).
""",
    f=np.sin,
    df=np.cos,
)

exp = row(
    "exp",
    PATH,
    """Exponential.

    y = e^x

Keeps y, which is its own derivative.
Source: elementary; d exp(x) / dx = exp(x).
""",
    f=np.exp,
    df=np.exp,
    saves="y",
    tails=(-1e4, -95.0, -30.0, -1e-4, 1e-4, 9.0, 30.0),
)

cos = row(
    "cos",
    PATH,
    """Cosine.

    y = cos(x)

x in radians.
Source: elementary; d cos(x) / dx = -sin(x).
""",
    f=np.cos,
    df=lambda x: -np.sin(x),
)

square = row(
    "square",
    PATH,
    """Square.

    y = x^2

Source: elementary; d x^2 / dx = 2 x.
""",
    f=lambda x: x * x,
    df=lambda x: x + x,
)

ALL: tuple[Op, ...] = (sin, exp, cos, square)
