r"""Logarithm of the softmax over one axis.

    z = x - max(x)
    y = z - log(sum(e^z))

Keeps y alone. An element -inf has y = -inf; where all of them are -inf, y is NaN, as in torch and
JAX.
Source: elementary; dx = dy - softmax(x) sum(dy).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def forward(x: Any, *, dim: int) -> Any:
    z = x - x.real.max(dim, keepdims=True, initial=-np.inf)
    y = z - np.log(np.exp(z).sum(dim, keepdims=True))
    return y, (y,)


def backward(dy: Any, x: Any, *, dim: int) -> Any:
    """The adjoint of forward, line by line. y does not depend on the maximum, a constant here."""
    z = x - x.max(dim, keepdims=True, initial=-np.inf)
    e = np.exp(z)
    s = e.sum(dim, keepdims=True)
    dz = dy  # y = z - log(s)
    ds = -dy.sum(dim, keepdims=True) / s
    dz = dz + ds * e  # s = sum(e^z)
    return (dz,)  # z = x - constant


def check(dims: Dims, o: Options) -> None:
    n, dim = len(dims["N"]), o["dim"]
    require(type(dim) is int, f"log_softmax: dim is {dim!r}, expected an integer")
    require(n > 0, "log_softmax: x has shape (), expected at least one dim")
    require(-n <= dim < n, f"log_softmax: dim is {dim}, expected {-n} <= dim < {n}")


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
    yield Case("far apart", {"x": 5 * draw(3, 5)})


SPEC = Op(
    name="log_softmax",
    path="layers/log_softmax",
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
