r"""Linear recurrence with real gates per channel.

    h_t = a_t h_{t-1} + b_t        t = 1 .. T, element by element
    y   = h_1 .. h_T

h_0 is h0, zeros without it. With reverse the sequence runs from its end:
h_t = a_t h_{t+1} + b_t, and h0 stands for h_{T+1}. Gates may be zero, negative or larger than 1:
nothing is divided by them or by products of them. The rules work on blocks of steps, for which
they multiply neighbouring gates; where such a product overflows although the states do not, which
takes states of 0, they give NaN.
Source: Blelloch 1990, "Prefix Sums and Their Applications", CMU-CS-90-190, section 1.4 (the
recurrence as a scan); Martin, Cundy 2018, "Parallelizing Linear Recurrent Neural Nets Over Sequence
Length", ICLR, arXiv:1709.04057, section 2 (its gradient, a recurrence in reverse).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, one_of


def _order(steps: int, reverse: bool) -> list[int]:
    return list(range(steps))[::-1] if reverse else list(range(steps))


def forward(a: Any, b: Any, h0: Any = None, *, reverse: bool) -> Any:
    start: Any = np.zeros(a.shape[:-2] + a.shape[-1:]) if h0 is None else h0
    y = np.zeros(a.shape, np.result_type(a, b, start))
    h = start
    for t in _order(a.shape[-2], reverse):
        h = a[..., t, :] * h + b[..., t, :]
        y[..., t, :] = h
    return y, (y,)


def backward(dy: Any, a: Any, b: Any, h0: Any = None, *, reverse: bool) -> Any:
    """The adjoint of forward, step by step from the last, line by line from the bottom."""
    y, _ = forward(a, b, h0, reverse=reverse)
    start: Any = np.zeros(a.shape[:-2] + a.shape[-1:]) if h0 is None else h0
    order = _order(a.shape[-2], reverse)
    before = [start, *(y[..., t, :] for t in order)]
    da, db, dh = np.zeros_like(a), np.zeros_like(b), np.zeros_like(start)
    for step, t in reversed(list(enumerate(order))):
        dh = dh + dy[..., t, :]  # y[t] = h
        db[..., t, :] = dh  # h = a[t] * h + b[t]
        da[..., t, :] = dh * before[step]
        dh = dh * a[..., t, :]
    return da, db, None if h0 is None else dh  # h = h0


def check(dims: Dims, o: Options) -> None:
    one_of("linear_recurrence", "reverse", o["reverse"], (False, True))


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*shape: int, start: bool = True) -> dict[str, Any]:
        h0 = draw(*shape[:-2], shape[-1]) if start else None
        return {"a": draw(*shape), "b": draw(*shape), "h0": h0}

    yield Case("seven steps", arrays(2, 7, 3))
    yield Case("reverse", arrays(3, 7, 2), {"reverse": True})
    yield Case("no batch, no start", arrays(4, 3, start=False))
    shut = arrays(2, 6, 2)
    shut["a"][:, [0, 3], 0] = 0.0
    yield Case("gates of zero", shut)
    yield Case("one step", arrays(3, 1, 2), {"reverse": True})
    yield Case("no steps", arrays(2, 0, 3))


GOOD: dict[str, Any] = {"a": (2, 5, 3), "b": (2, 5, 3), "h0": (2, 3)}

SPEC = Op(
    name="linear_recurrence",
    path="layers/linear_recurrence",
    doc=__doc__,
    args=(Arg("a", "*N T D"), Arg("b", "*N T D"), Arg("h0", "*N D", optional=True)),
    out="*N T D",
    residuals={"y": "*N T D"},
    saves=("a", "h0"),
    options={"reverse": False},
    check=check,
    rejects=(
        Reject("a has shape (5,), expected (*N T D)", {**GOOD, "a": (5,)}),
        Reject("a is None, expected (*N T D)", {**GOOD, "a": None}),
        Reject("b has shape (2, 4, 3), but dim T is 5", {**GOOD, "b": (2, 4, 3)}),
        Reject("h0 has shape (3,), but dim N is (2,)", {**GOOD, "h0": (3,)}),
        Reject("h0 has shape (2, 4), but dim D is 3", {**GOOD, "h0": (2, 4)}),
        Reject("reverse is 'yes', expected one of [False, True]", GOOD, {"reverse": "yes"}),
        Reject("unknown option 'axis'; it takes ['reverse']", GOOD, {"axis": 1}),
    ),
    bench={
        "small": {"N": 2, "T": 16, "D": 16},
        "typical": {"N": 4, "T": 512, "D": 128},
        "large": {"N": 8, "T": 1024, "D": 256},
        "odd": {"N": 3, "T": 101, "D": 33},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
