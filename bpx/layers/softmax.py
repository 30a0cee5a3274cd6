r"""Softmax over one axis.

    m = max(x)
    e = e^(x - m)
    y = e / sum(e)

Keeps y alone. An element -inf has y = 0 and no gradient; where all of them are -inf, y is NaN, as
in torch and JAX.
Source: Bridle 1990, "Probabilistic Interpretation of Feedforward Classification Network Outputs",
Neurocomputing, NATO ASI Series 68.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def forward(x: Any, *, dim: int) -> Any:
    m = x.real.max(dim, keepdims=True, initial=-np.inf)
    e = np.exp(x - m)
    y = e / e.sum(dim, keepdims=True)
    return y, (y,)


def backward(dy: Any, x: Any, *, dim: int) -> Any:
    """The adjoint of forward, line by line. y does not depend on m, which is a constant here."""
    m = x.max(dim, keepdims=True, initial=-np.inf)
    e = np.exp(x - m)
    s = e.sum(dim, keepdims=True)
    de = dy / s  # y = e / s
    ds = -(dy * e).sum(dim, keepdims=True) / s**2
    de = de + ds  # s = sum(e)
    dx = de * e  # e = e^(x - m)
    return (dx,)


def check(dims: Dims, o: Options) -> None:
    n, dim = len(dims["N"]), o["dim"]
    require(type(dim) is int, f"softmax: dim is {dim!r}, expected an integer")
    require(n > 0, "softmax: x has shape (), expected at least one dim")
    require(-n <= dim < n, f"softmax: dim is {dim}, expected {-n} <= dim < {n}")


def cases(draw: Any) -> Iterator[Case]:
    masked = draw(3, 5)
    masked[0, 1], masked[2, :3] = -np.inf, -np.inf
    yield Case("3d", {"x": draw(2, 3, 5)})
    yield Case("first axis", {"x": draw(3, 5)}, {"dim": 0})
    yield Case("middle axis", {"x": draw(2, 3, 5)}, {"dim": -2})
    yield Case("masked", {"x": masked}, kink="no differences through -inf")
    yield Case("one column", {"x": draw(3, 1)})
    yield Case("no rows", {"x": draw(0, 5)})
    yield Case("far from zero", {"x": draw(3, 5) + 1e4})
    # one y is almost 1: dy y and y sum(dy y), of the size of dy, cancel almost entirely
    yield Case("far apart", {"x": 100 * draw(3, 5)}, cancels=2.0)


SPEC = Op(
    name="softmax",
    path="layers/softmax",
    doc=__doc__,
    args=(Arg("x", "*N"),),
    out="*N",
    residuals={"y": "*N"},
    options={"dim": -1},
    check=check,
    rejects=(
        Reject("dim is 2, expected -2 <= dim < 2", {"x": (2, 5)}, {"dim": 2}),
        Reject("dim is None, expected an integer", {"x": (2, 5)}, {"dim": None}),
        Reject("x has shape (), expected at least one dim", {"x": ()}),
        Reject("unknown option 'axis'; it takes ['dim']", {"x": (2, 5)}, {"axis": 1}),
    ),
    bench=rows.ROWS,
    forward=forward,
    backward=backward,
    cases=cases,
)
