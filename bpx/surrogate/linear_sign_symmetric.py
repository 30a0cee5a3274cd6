r"""Linear layer whose error goes back through the signs of its weights alone.

    y  = x weight^T + bias
    dx = scale dy sign(weight)       in place of dy weight

sign(0) is 0: where there is no connection none goes back. weight and bias have their usual
gradients.
Source: Liao, Leibo, Poggio 2016, "How Important Is Weight Symmetry in Backpropagation?", AAAI,
uniform sign-concordant feedback.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers import linear
from bpx.spec import Arg, Case, Op, Options, Reject, number, require


def forward(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    y = x @ weight.T
    return y + (0 if bias is None else bias), ()


def backward(dy: Any, x: Any, weight: Any, bias: Any = None, *, scale: float) -> Any:
    """The adjoint of forward, y_o = sum_i x_i weight_oi + bias_o, but for dx."""
    rows = tuple(range(x.ndim - 1))
    dbias = None if bias is None else dy.sum(rows)  # y = x weight^T + bias
    dweight = (dy[..., :, None] * x[..., None, :]).sum(rows)
    dx = (dy[..., :, None] * (scale * np.sign(weight))).sum(-2)  # the sign for weight: the rule
    return dx, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "weight": draw(7, 5), "bias": draw(7)})
    yield Case("scale", {"x": draw(3, 5), "weight": draw(2, 5), "bias": None}, {"scale": 0.3})
    pruned = draw(3, 5)
    pruned[np.abs(pruned) < 0.7] = 0.0
    yield Case("no connection", {"x": draw(5), "weight": pruned, "bias": draw(3)})
    yield Case("no rows", {"x": draw(0, 5), "weight": draw(3, 5), "bias": draw(3)})
    yield Case("one feature", {"x": draw(4, 1), "weight": draw(1, 1), "bias": draw(1)})


def check(dims: Dims, o: Options) -> None:
    number("linear_sign_symmetric", "scale", o["scale"])
    require(
        math.isfinite(o["scale"]),
        f"linear_sign_symmetric: scale is {o['scale']}, expected a finite number",
    )


_SHAPES: dict[str, tuple[int, ...] | None] = {"x": (2, 5), "weight": (7, 5), "bias": None}

SPEC = Op(
    name="linear_sign_symmetric",
    path="surrogate/linear_sign_symmetric",
    doc=__doc__,
    args=(Arg("x", "*N I"), Arg("weight", "O I"), Arg("bias", "O", optional=True)),
    out="*N O",
    saves=("x", "weight"),
    options={"scale": 1.0},
    check=check,
    rejects=(
        Reject("weight has shape (5, 7), but dim I is 5", {**_SHAPES, "weight": (5, 7)}),
        Reject("scale is '1', expected a number", _SHAPES, {"scale": "1"}),
        Reject("scale is nan, expected a finite number", _SHAPES, {"scale": math.nan}),
    ),
    bench=linear.SPEC.bench,
    forward=forward,
    backward=backward,
    cases=cases,
    surrogate="the error goes back through the signs of weight, not through its transpose",
)
