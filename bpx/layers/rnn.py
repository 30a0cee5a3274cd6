r"""Elman's recurrent layer, one direction: all hidden states of a sequence.

    a_t = x_t w_ih^T + b_ih + h_{t-1} w_hh^T + b_hh        t = 1 .. T
    h_t = f(a_t)                                           f is tanh, or relu
    y   = h_1 .. h_T

x is (steps, batch, features); the last state is the last row of y. There are two biases, as in
torch, whose gradients are equal. The initial state has a gradient.
lengths holds the number of steps of each sequence, 0 <= lengths < L = T + 1, T for all without it:
past its end a sequence's state stays as it is, and its rows of y are 0.
Source: Elman 1990, "Finding structure in time", Cognitive Science 14(2); the gradient is
back-propagation through time: Werbos 1990, "Backpropagation through time: what it does and how to
do it", Proceedings of the IEEE 78(10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._recurrent import before, running, step_count
from bpx.spec import Arg, Case, Op, Options, Reject, one_of

NONLINEARITIES = ("tanh", "relu")
KINKS = "0 where a = 0, with relu (as torch)"


def forward(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    nonlinearity: str,
) -> Any:
    h, states = h0, []
    for t, x_t in enumerate(x):
        a = x_t @ w_ih.T + (0 if b_ih is None else b_ih)
        a = a + h @ w_hh.T + (0 if b_hh is None else b_hh)
        new = np.tanh(a) if nonlinearity == "tanh" else np.where(a.real <= 0, 0.0, a)
        h = np.where(running(lengths, t), new, h)
        states.append(np.where(running(lengths, t), h, 0.0))
    y = np.stack(states)
    return y, (y,)


def backward(
    dy: Any,
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
    *,
    nonlinearity: str,
) -> Any:
    """The adjoint of forward, step by step from the last, line by line from the bottom."""
    y, _ = forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths, nonlinearity=nonlinearity)
    dx, dh = np.zeros_like(x), np.zeros_like(h0)
    dw_ih, dw_hh = np.zeros_like(w_ih), np.zeros_like(w_hh)
    db_ih = None if b_ih is None else np.zeros_like(b_ih)
    db_hh = None if b_hh is None else np.zeros_like(b_hh)
    for t, h in reversed(list(enumerate(before(h0, y)))):
        runs = running(lengths, t)
        dh = dh + np.where(runs, dy[t], 0.0)  # states.append(h where it runs)
        dnew = np.where(runs, dh, 0.0)  # h = new where it runs, else h
        dh = np.where(runs, 0.0, dh)
        if nonlinearity == "tanh":
            da = dnew * (1 - y[t] ** 2)  # new = tanh(a)
        else:
            da = np.where(y[t] > 0, dnew, 0.0)  # new = a where a > 0
        db_hh = None if db_hh is None else db_hh + da.sum(0)  # a = a + h w_hh^T + b_hh
        dw_hh = dw_hh + da.T @ h
        dh = dh + da @ w_hh
        db_ih = None if db_ih is None else db_ih + da.sum(0)  # a = x_t w_ih^T + b_ih
        dw_ih = dw_ih + da.T @ x[t]
        dx[t] = da @ w_ih
    return dx, dh, dw_ih, dw_hh, db_ih, db_hh, None


def check(dims: Dims, o: Options) -> None:
    one_of("rnn", "nonlinearity", o["nonlinearity"], NONLINEARITIES)
    step_count("rnn", dims)


def cases(draw: Any) -> Iterator[Case]:
    def arrays(t: int, b: int, i: int, h: int) -> dict[str, Any]:
        return {
            "x": draw(t, b, i),
            "h0": draw(b, h),
            "w_ih": draw(h, i),
            "w_hh": draw(h, h),
            "b_ih": draw(h),
            "b_hh": draw(h),
        }

    yield Case("three steps", arrays(3, 2, 4, 3))
    yield Case("relu", arrays(3, 2, 4, 3), {"nonlinearity": "relu"})
    own = {"lengths": np.array([2, 4, 0]), "b_ih": None, "b_hh": None}
    yield Case("own lengths, no biases", {**arrays(4, 3, 2, 5), **own})
    yield Case("one step, one bias", {**arrays(1, 2, 3, 4), "b_hh": None})
    yield Case("no batch", arrays(2, 0, 4, 3))
    kink: dict[str, Any] = {"x": np.array([[[1.0, -2.0]], [[2.0, -4.0]]]), "h0": np.zeros((1, 1))}
    kink |= {"w_ih": np.array([[1.0, 0.5]]), "w_hh": draw(1, 1), "b_ih": None, "b_hh": None}
    yield Case("kinks", kink, {"nonlinearity": "relu"}, kink=KINKS)


GOOD = {"x": (3, 2, 4), "h0": (2, 5), "w_ih": (5, 4), "w_hh": (5, 5)}

SPEC = Op(
    name="rnn",
    path="layers/rnn",
    doc=__doc__,
    args=(
        Arg("x", "T B I"),
        Arg("h0", "B H"),
        Arg("w_ih", "H I"),
        Arg("w_hh", "H H"),
        Arg("b_ih", "H", optional=True),
        Arg("b_hh", "H", optional=True),
        Arg("lengths", "B", kind="index", below="L", optional=True),
    ),
    out="T B H",
    residuals={"y": "T B H"},
    saves=("x", "h0", "w_ih", "w_hh", "lengths"),
    options={"nonlinearity": "tanh"},
    check=check,
    rejects=(
        Reject("nonlinearity is 'gelu', expected one of", GOOD, {"nonlinearity": "gelu"}),
        Reject("x has 0 steps, expected at least 1", {**GOOD, "x": (0, 2, 4)}),
        Reject("x has shape (2, 4), expected (T B I)", {**GOOD, "x": (2, 4)}),
        Reject("h0 is None, expected (B H)", {**GOOD, "h0": None}),
        Reject("h0 has shape (3, 5), but dim B is 2", {**GOOD, "h0": (3, 5)}),
        Reject("w_ih has shape (5, 3), but dim I is 4", {**GOOD, "w_ih": (5, 3)}),
        Reject("w_hh has shape (5, 4), but dim H is 5", {**GOOD, "w_hh": (5, 4)}),
        Reject("b_hh has shape (4,), but dim H is 5", {**GOOD, "b_hh": (4,)}),
        Reject("lengths has shape (3,), but dim B is 2", {**GOOD, "lengths": (3,)}),
        Reject(
            "lengths holds 4, expected 0 <= lengths < 4",
            {**GOOD, "lengths": (2,)},
            values={"lengths": [3, 4]},
        ),
        Reject("unknown option 'bias'; it takes ['nonlinearity']", GOOD, {"bias": True}),
    ),
    limits={"typical": (0.7, 0.4), "large": (0.7, 0.4)},
    bench={
        "small": {"T": 8, "B": 4, "I": 16, "H": 16},
        "typical": {"T": 128, "B": 32, "I": 128, "H": 128},
        "large": {"T": 128, "B": 32, "I": 256, "H": 256},
        "odd": {"T": 13, "B": 3, "I": 7, "H": 9},
    },
    kinks=KINKS,
    forward=forward,
    backward=backward,
    cases=cases,
)
