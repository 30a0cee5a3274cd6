r"""The output's error handed to a hidden layer at once, by a matrix of its own.

    y = x;    dx = dy,  dh = dy feedback

x is the output of a network, h one of its hidden layers. One call to each, on the output, each with
a feedback (O H) of its own:

    h1 = tanh(linear(x, w1));  h2 = tanh(linear(h1, w2));  y = linear(h2, w3)
    y = direct_feedback_alignment(y, h1, feedback1)
    y = direct_feedback_alignment(y, h2, feedback2)

where every layer takes its input without the gradient (detach, stop_gradient): the errors of the
hidden layers then come from here alone. feedback is drawn once and stays: its gradient is 0. h is
flattened behind the batch, to (*N H); only its shape is kept.
Source: Nokland 2016, "Direct Feedback Alignment Provides Learning in Deep Neural Networks", NIPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.spec import Arg, Case, Op, Reject


def forward(x: Any, h: Any, feedback: Any) -> Any:
    return x, ()


def backward(dy: Any, x: Any, h: Any, feedback: Any) -> Any:
    dh = (dy[..., :, None] * feedback).sum(-2)  # h is no part of y: this is the rule
    return dy, dh, np.zeros_like(feedback)  # y = x


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "h": draw(2, 3, 7), "feedback": draw(5, 7)})
    yield Case("one row", {"x": draw(5), "h": draw(4), "feedback": draw(5, 4)})
    yield Case("one out", {"x": draw(3, 1), "h": draw(3, 2), "feedback": draw(1, 2)})
    yield Case("no rows", {"x": draw(0, 5), "h": draw(0, 3), "feedback": draw(5, 3)})


_SHAPES: dict[str, tuple[int, ...] | None]
_SHAPES = {"x": (2, 5), "h": (2, 7), "feedback": (5, 7)}

SPEC = Op(
    name="direct_feedback_alignment",
    path="surrogate/direct_feedback_alignment",
    doc=__doc__,
    args=(Arg("x", "*N O"), Arg("h", "*N H"), Arg("feedback", "O H")),
    out="*N O",
    saves=("feedback",),
    rejects=(
        Reject("h has shape (3, 7), but dim N is (2,)", {**_SHAPES, "h": (3, 7)}),
        Reject("feedback has shape (7, 5), but dim O is 5", {**_SHAPES, "feedback": (7, 5)}),
        Reject("feedback is None, expected (O H)", {**_SHAPES, "feedback": None}),
        Reject("unknown option 'scale'; it takes []", _SHAPES, {"scale": 1.0}),
    ),
    bench={
        "small": {"N": 64, "O": 10, "H": 256},
        "typical": {"N": 1024, "O": 10, "H": 512},
        "large": {"N": 4096, "O": 10, "H": 1024},
        "odd": {"N": 101, "O": 7, "H": 33},
    },
    forward=forward,
    backward=backward,
    cases=cases,
    surrogate="h, of which y does not depend here, is handed the output's error times feedback",
)
