r"""Linear layer whose error goes back through a matrix of its own: feedback alignment.

    y  = x weight^T + bias
    dx = dy feedback                 in place of dy weight

feedback is (out, in), as weight; it is drawn once and stays as it is: its gradient is 0. weight and
bias have their usual gradients. The weights come to agree with the feedback by themselves.
Source: Lillicrap, Cownden, Tweed, Akerman 2016, "Random synaptic feedback weights support error
backpropagation for deep learning", Nature Communications 7:13276.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.layers import linear
from bpx.spec import Arg, Case, Op, Reject


def forward(x: Any, weight: Any, feedback: Any, bias: Any = None) -> Any:
    y = x @ weight.T
    return y + (0 if bias is None else bias), ()


def backward(dy: Any, x: Any, weight: Any, feedback: Any, bias: Any = None) -> Any:
    """The adjoint of forward, y_o = sum_i x_i weight_oi + bias_o, but for dx."""
    rows = tuple(range(x.ndim - 1))
    dbias = None if bias is None else dy.sum(rows)  # y = x weight^T + bias
    dweight = (dy[..., :, None] * x[..., None, :]).sum(rows)
    dx = (dy[..., :, None] * feedback).sum(-2)  # feedback for weight: this is the rule
    return dx, dweight, np.zeros_like(feedback), dbias


def cases(draw: Any) -> Iterator[Case]:
    def arrays(rows: tuple[int, ...], out: int, inner: int) -> dict[str, Any]:
        weight, feedback = draw(out, inner), draw(out, inner)
        return {"x": draw(*rows, inner), "weight": weight, "feedback": feedback}

    yield Case("3d", {**arrays((2, 3), 7, 5), "bias": draw(7)})
    yield Case("no bias", {**arrays((3,), 2, 5), "bias": None})
    yield Case("one row", {**arrays((), 3, 5), "bias": draw(3)})
    yield Case("no rows", {**arrays((0,), 3, 5), "bias": draw(3)})
    yield Case("one feature", {**arrays((4,), 1, 1), "bias": draw(1)})


SPEC = Op(
    name="linear_feedback_alignment",
    path="surrogate/linear_feedback_alignment",
    doc=__doc__,
    args=(
        Arg("x", "*N I"),
        Arg("weight", "O I"),
        Arg("feedback", "O I"),
        Arg("bias", "O", optional=True),
    ),
    out="*N O",
    saves=("x", "feedback"),
    rejects=(
        Reject(
            "feedback has shape (5, 7), but dim O is 7",
            {"x": (2, 5), "weight": (7, 5), "feedback": (5, 7), "bias": None},
        ),
        Reject(
            "feedback is None, expected (O I)",
            {"x": (2, 5), "weight": (7, 5), "feedback": None, "bias": None},
        ),
        Reject(
            "bias has shape (5,), but dim O is 7",
            {"x": (2, 5), "weight": (7, 5), "feedback": (7, 5), "bias": (5,)},
        ),
    ),
    bench=linear.SPEC.bench,
    forward=forward,
    backward=backward,
    cases=cases,
    surrogate="the error goes back through feedback, not through the transpose of weight",
)
