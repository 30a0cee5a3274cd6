r"""Convolution whose error goes back through filters of its own: feedback alignment.

    y  = conv(x, weight, bias)
    dx = what conv gives with feedback in place of weight

feedback is (O K *W), as weight; it is drawn once and stays as it is: its gradient is 0. weight and
bias have their usual gradients. Shapes and options are those of conv.
Source: Lillicrap et al. 2016, Nature Communications 7:13276; for convolutions: Bartunov et al.
2018, "Assessing the Scalability of Biologically-Motivated Deep Learning Algorithms", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers import conv
from bpx.spec import Arg, Case, Op, Options, Reject
from bpx.surrogate._conv import named


def forward(x: Any, weight: Any, feedback: Any, bias: Any = None, **options: Any) -> Any:
    return conv.forward(x, weight, bias, **options)


def backward(dy: Any, x: Any, weight: Any, feedback: Any, bias: Any = None, **options: Any) -> Any:
    _, dweight, dbias = conv.backward(dy, x, weight, bias, **options)
    dx, _, _ = conv.backward(dy, x, feedback, bias, **options)  # feedback for weight: the rule
    return dx, dweight, np.zeros_like(feedback), dbias


def cases(draw: Any) -> Iterator[Case]:
    def arrays(x: tuple[int, ...], weight: tuple[int, ...]) -> dict[str, Any]:
        return {"x": draw(*x), "weight": draw(*weight), "feedback": draw(*weight)}

    yield Case("2d", {**arrays((2, 3, 5, 4), (4, 3, 2, 3)), "bias": draw(4)})
    yield Case(
        "groups, tail dropped by the stride",
        {**arrays((2, 4, 7, 6), (6, 2, 3, 2)), "bias": draw(6)},
        {"groups": 2, "stride": (4, 3), "padding": (1, 0)},
    )
    yield Case(
        "1d, same, dilated",
        {**arrays((2, 3, 7), (4, 3, 2)), "bias": None},
        {"padding": "same", "dilation": 3},
    )
    yield Case("one of each", {**arrays((1, 1, 3), (1, 1, 1)), "bias": draw(1)})
    yield Case("no images", {**arrays((0, 2, 5), (3, 2, 2)), "bias": draw(3)})


def check(dims: Dims, o: Options) -> None:
    named("conv_feedback_alignment", dims, o)


_SHAPES: dict[str, tuple[int, ...] | None] = {
    "x": (2, 4, 5, 6),
    "weight": (6, 4, 3, 2),
    "feedback": (6, 4, 3, 2),
    "bias": None,
}

SPEC = Op(
    name="conv_feedback_alignment",
    path="surrogate/conv_feedback_alignment",
    doc=__doc__,
    args=(
        Arg("x", "B C *S"),
        Arg("weight", "O K *W"),
        Arg("feedback", "O K *W"),
        Arg("bias", "O", optional=True),
    ),
    out="B O *Y",
    saves=("x", "feedback"),
    options=conv.SPEC.options,
    check=check,
    rejects=(
        Reject("feedback has shape (6, 4, 2, 3), but dim W", {**_SHAPES, "feedback": (6, 4, 2, 3)}),
        Reject("weight has 4 channels per group, expected the 4", _SHAPES, {"groups": 2}),
        Reject("stride is 0, expected an integer of at least 1", _SHAPES, {"stride": 0}),
    ),
    bench=conv.SPEC.bench,
    forward=forward,
    backward=backward,
    cases=cases,
    surrogate="the error goes back through feedback, not through weight turned around",
)
