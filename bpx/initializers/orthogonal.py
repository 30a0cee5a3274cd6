r"""Orthogonal: a random matrix whose rows, or columns, are orthonormal.

    z      standard normal, the longer side as rows
    q r    = z                     q with orthonormal columns
    q      <- q sign(diag r)       makes it uniform over the orthogonal matrices
    w      = gain q, or gain q^T where the matrix is wider than high

The matrix has `axis` as its rows and the other axes, flattened, as its columns: axis=0 is torch's,
axis=-1 the column_axis of JAX. Rows are orthonormal when they are the shorter side, else columns.
Without the sign, LAPACK's choice of it would bias q.
Source: Saxe, McClelland, Ganguli 2013, arXiv:1312.6120; the sign is Mezzadri 2007,
arXiv:math-ph/0609050, section 5.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpx.initializers._limits import finite
from bpx.spec import Initializer, Options, Reject, require

Shape = tuple[int, ...]


def from_noise(noise: Any, shape: Shape, *, gain: float, axis: int) -> Any:
    if 0 in shape:
        return np.zeros(shape)
    rows = shape[axis]
    columns = math.prod(shape) // rows
    z = noise("normal", (max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(z)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    w = gain * (q.T if rows < columns else q)
    others = [n for i, n in enumerate(shape) if i != axis % len(shape)]
    return np.moveaxis(w.reshape(rows, *others), 0, axis)


def moments(shape: Shape, *, gain: float, axis: int) -> tuple[float, float]:
    rows = max(shape[axis], 1)
    return 0.0, abs(gain) / math.sqrt(max(rows, math.prod(shape) // rows, 1))


def check(shape: Shape, options: Options) -> None:
    finite("orthogonal", options, "gain")
    require(len(shape) >= 2, f"orthogonal: shape is {shape}, expected at least 2 axes")
    axis = options["axis"]
    known = isinstance(axis, int) and -len(shape) <= axis < len(shape)
    require(known, f"orthogonal: axis is {axis!r}, expected an axis of the shape {shape}")


SPEC = Initializer(
    name="orthogonal",
    path="initializers/orthogonal",
    doc=__doc__,
    options={"gain": 1.0, "axis": 0},
    from_noise=from_noise,
    moments=moments,
    check=check,
    trials=({}, {"gain": 1.7, "axis": -1}, {"gain": -0.6, "axis": 2}),
    rejects=(
        Reject("orthogonal: shape is (3,), expected at least 2 axes", {"shape": (3,)}),
        Reject("orthogonal: axis is 2, expected an axis", {"shape": (3, 4)}, {"axis": 2}),
        Reject("orthogonal: gain is nan, expected a finite", {"shape": (3, 4)}, {"gain": math.nan}),
    ),
)
