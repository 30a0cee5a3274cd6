r"""Convolution whose error goes back through the signs of its weights alone.

    y  = conv(x, weight, bias)
    dx = what conv gives with scale sign(weight) in place of weight

sign(0) is 0. weight and bias have their usual gradients. Shapes and options are those of conv.
Source: Liao, Leibo, Poggio 2016, "How Important Is Weight Symmetry in Backpropagation?", AAAI,
uniform sign-concordant feedback.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers import conv
from bpx.spec import Arg, Case, Op, Options, Reject, number, require
from bpx.surrogate._conv import named


def forward(x: Any, weight: Any, bias: Any = None, *, scale: float, **options: Any) -> Any:
    return conv.forward(x, weight, bias, **options)


def backward(
    dy: Any, x: Any, weight: Any, bias: Any = None, *, scale: float, **options: Any
) -> Any:
    _, dweight, dbias = conv.backward(dy, x, weight, bias, **options)
    signs = scale * np.sign(weight)  # in place of weight: this is the rule
    dx, _, _ = conv.backward(dy, x, signs, bias, **options)
    return dx, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(2, 3, 5, 4), "weight": draw(4, 3, 2, 3), "bias": draw(4)})
    yield Case(
        "groups, scale",
        {"x": draw(2, 4, 7, 6), "weight": draw(6, 2, 3, 2), "bias": draw(6)},
        {"groups": 2, "stride": (4, 3), "padding": (1, 0), "scale": 0.3},
    )
    yield Case(
        "1d, same, dilated",
        {"x": draw(2, 3, 7), "weight": draw(4, 3, 2), "bias": None},
        {"padding": "same", "dilation": 3},
    )
    yield Case("one of each", {"x": draw(1, 1, 3), "weight": draw(1, 1, 1), "bias": draw(1)})
    yield Case("no images", {"x": draw(0, 2, 5), "weight": draw(3, 2, 2), "bias": draw(3)})


def check(dims: Dims, o: Options) -> None:
    number("conv_sign_symmetric", "scale", o["scale"])
    require(
        math.isfinite(o["scale"]),
        f"conv_sign_symmetric: scale is {o['scale']}, expected a finite number",
    )
    named("conv_sign_symmetric", dims, o)


_SHAPES: dict[str, tuple[int, ...] | None]
_SHAPES = {"x": (2, 4, 5, 6), "weight": (6, 4, 3, 2), "bias": None}

SPEC = Op(
    name="conv_sign_symmetric",
    path="surrogate/conv_sign_symmetric",
    doc=__doc__,
    args=(Arg("x", "B C *S"), Arg("weight", "O K *W"), Arg("bias", "O", optional=True)),
    out="B O *Y",
    saves=("x", "weight"),
    options={**conv.SPEC.options, "scale": 1.0},
    check=check,
    rejects=(
        Reject("scale is None, expected a number", _SHAPES, {"scale": None}),
        Reject("scale is inf, expected a finite number", _SHAPES, {"scale": math.inf}),
        Reject("padding is 'full', expected one of", _SHAPES, {"padding": "full"}),
    ),
    bench=conv.SPEC.bench,
    forward=forward,
    backward=backward,
    cases=cases,
    surrogate="the error goes back through the signs of weight, not through weight turned around",
)
