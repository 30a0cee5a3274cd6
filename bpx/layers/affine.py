r"""A number times x plus a number: the toy model's layer.

    y = weight * x + bias

weight and bias are scalars.
Source: elementary; dx = weight dy, dweight = sum(x dy), dbias = sum(dy).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpx import bench_rows as rows
from bpx.spec import Arg, Case, Op, Reject


def forward(x: Any, weight: Any, bias: Any) -> Any:
    return weight * x + bias, ()


def backward(dy: Any, x: Any, weight: Any, bias: Any) -> Any:
    """The adjoint of forward; weight and bias are met once for every element of x."""
    dbias = dy.sum()  # y = weight * x + bias
    dweight = (dy * x).sum()
    dx = dy * weight
    return dx, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(3, 5), "weight": draw(), "bias": draw()})
    yield Case("scalar", {"x": draw(), "weight": draw(), "bias": draw()})
    yield Case("no rows", {"x": draw(0, 5), "weight": draw(), "bias": draw()})
    yield Case("large bias", {"x": draw(7), "weight": draw(), "bias": draw() + 1e4})


SPEC = Op(
    name="affine",
    path="layers/affine",
    doc=__doc__,
    args=(Arg("x", "*N"), Arg("weight", ""), Arg("bias", "")),
    out="*N",
    saves=("x", "weight"),
    rejects=(
        Reject("weight has shape (1,), expected ()", {"x": (2, 5), "weight": (1,), "bias": ()}),
        Reject("bias is None, expected ()", {"x": (2, 5), "weight": (), "bias": None}),
        Reject(
            "unknown option 'scale'; it takes []",
            {"x": (2, 5), "weight": (), "bias": ()},
            {"scale": 2.0},
        ),
    ),
    bench=rows.ELEMENTS,
    forward=forward,
    backward=backward,
    cases=cases,
)
