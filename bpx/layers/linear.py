r"""Linear layer over the last axis.

    y = x weight^T + bias

weight is (out, in), as in torch; flax and Keras keep its transpose.
Source: elementary; dx = dy weight, dweight = dy^T x, dbias = sum(dy), over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpx.spec import Arg, Case, Op, Reject


def forward(x: Any, weight: Any, bias: Any = None) -> Any:
    y = x @ weight.T
    return y + (0 if bias is None else bias), ()


def backward(dy: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """The adjoint of forward, y_o = sum_i x_i weight_oi + bias_o for every row."""
    rows = tuple(range(x.ndim - 1))
    dbias = None if bias is None else dy.sum(rows)  # y = x weight^T + bias
    dweight = (dy[..., :, None] * x[..., None, :]).sum(rows)
    dx = (dy[..., :, None] * weight).sum(-2)
    return dx, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "weight": draw(7, 5), "bias": draw(7)})
    yield Case("no bias", {"x": draw(3, 5), "weight": draw(2, 5), "bias": None})
    yield Case("one row", {"x": draw(5), "weight": draw(3, 5), "bias": draw(3)})
    yield Case("one in", {"x": draw(3, 1), "weight": draw(2, 1), "bias": draw(2)})
    yield Case("one out", {"x": draw(3, 5), "weight": draw(1, 5), "bias": draw(1)})
    yield Case("no rows", {"x": draw(0, 5), "weight": draw(3, 5), "bias": draw(3)})
    yield Case("no in", {"x": draw(2, 0), "weight": draw(3, 0), "bias": draw(3)})
    yield Case("no out", {"x": draw(2, 5), "weight": draw(0, 5), "bias": draw(0)})


SPEC = Op(
    name="linear",
    path="layers/linear",
    doc=__doc__,
    args=(Arg("x", "*N I"), Arg("weight", "O I"), Arg("bias", "O", optional=True)),
    out="*N O",
    saves=("x", "weight"),
    rejects=(
        Reject(
            "weight has shape (5, 7), but dim I is 5",
            {"x": (2, 5), "weight": (5, 7), "bias": None},
        ),
        Reject(
            "bias has shape (5,), but dim O is 7", {"x": (2, 5), "weight": (7, 5), "bias": (5,)}
        ),
        Reject("weight is None, expected (O I)", {"x": (2, 5), "weight": None, "bias": None}),
        Reject(
            "unknown option 'transpose'; it takes []",
            {"x": (2, 5), "weight": (7, 5), "bias": None},
            {"transpose": True},
        ),
    ),
    bench={
        "small": {"N": 64, "I": 64, "O": 64},
        "typical": {"N": 512, "I": 512, "O": 512},
        "large": {"N": 1024, "I": 1024, "O": 1024},
        "odd": {"N": 101, "I": 67, "O": 33},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
