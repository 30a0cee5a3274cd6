r"""Gated recurrent unit, one direction: all hidden states of a sequence.

    r_t = sigmoid(x_t w_ir^T + b_ir + h_{t-1} w_hr^T + b_hr)       t = 1 .. T
    z_t = sigmoid(x_t w_iz^T + b_iz + h_{t-1} w_hz^T + b_hz)
    n_t = tanh(x_t w_in^T + b_in + r_t (h_{t-1} w_hn^T + b_hn))
    h_t = (1 - z_t) n_t + z_t h_{t-1}
    y   = h_1 .. h_T

x is (steps, batch, features); the last state is the last row of y. w_ih holds the rows of r, z, n
in this order, and so do w_hh and the biases, as in torch. r multiplies the product with w_hn and
its bias (Keras: reset_after=True), not h before the product as in the paper; z weighs the old
state, where the paper's weighs the new. `gates` keeps r, z, n and h_{t-1} w_hn^T + b_hn.
lengths holds the number of steps of each sequence, 0 <= lengths < L = T + 1, T for all without it:
past its end a sequence's state stays as it is, and its rows of y and gates are 0.
Source: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical
Machine Translation", arXiv:1406.1078, equations 5 to 8; the form with r outside the product as in
torch.nn.GRU. The gradient is back-propagation through time (Werbos 1990).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._recurrent import before, gate_rows, running, sigmoid, step_count
from bpx.spec import Arg, Case, Op, Options, Reject


def forward(
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
) -> Any:
    n_units = h0.shape[-1]
    h, states, gates = h0, [], []
    for t, x_t in enumerate(x):
        a = x_t @ w_ih.T + (0 if b_ih is None else b_ih)
        u = h @ w_hh.T + (0 if b_hh is None else b_hh)
        a_r, a_z, a_n = (a[:, i * n_units : (i + 1) * n_units] for i in range(3))
        u_r, u_z, u_n = (u[:, i * n_units : (i + 1) * n_units] for i in range(3))
        r = sigmoid(a_r + u_r)
        z = sigmoid(a_z + u_z)
        n = np.tanh(a_n + r * u_n)
        new = (1 - z) * n + z * h
        h = np.where(running(lengths, t), new, h)
        states.append(np.where(running(lengths, t), h, 0.0))
        gates.append(np.where(running(lengths, t), np.concatenate([r, z, n, u_n], axis=1), 0.0))
    y = np.stack(states)
    return y, (y, np.stack(gates))


def backward(
    dy: Any,
    x: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
) -> Any:
    """The adjoint of forward, step by step from the last, line by line from the bottom."""
    _, (y, gates) = forward(x, h0, w_ih, w_hh, b_ih, b_hh, lengths)
    dx, dh = np.zeros_like(x), np.zeros_like(h0)
    dw_ih, dw_hh = np.zeros_like(w_ih), np.zeros_like(w_hh)
    db_ih = None if b_ih is None else np.zeros_like(b_ih)
    db_hh = None if b_hh is None else np.zeros_like(b_hh)
    for t, h in reversed(list(enumerate(before(h0, y)))):
        r, z, n, u_n = np.split(gates[t], 4, axis=1)
        runs = running(lengths, t)
        dh = dh + np.where(runs, dy[t], 0.0)  # states.append(h where it runs)
        dnew = np.where(runs, dh, 0.0)  # h = new where it runs, else h
        dh = np.where(runs, 0.0, dh)
        dz = dnew * h - dnew * n  # new = (1 - z) n + z h
        dn = dnew * (1 - z)
        dh = dh + dnew * z
        ds = dn * (1 - n**2)  # n = tanh(a_n + r u_n)
        da_n, dr, du_n = ds, ds * u_n, ds * r
        da_z = du_z = dz * z * (1 - z)  # z = sigmoid(a_z + u_z)
        da_r = du_r = dr * r * (1 - r)  # r = sigmoid(a_r + u_r)
        du = np.concatenate([du_r, du_z, du_n], axis=1)
        da = np.concatenate([da_r, da_z, da_n], axis=1)
        db_hh = None if db_hh is None else db_hh + du.sum(0)  # u = h w_hh^T + b_hh
        dw_hh = dw_hh + du.T @ h
        dh = dh + du @ w_hh
        db_ih = None if db_ih is None else db_ih + da.sum(0)  # a = x_t w_ih^T + b_ih
        dw_ih = dw_ih + da.T @ x[t]
        dx[t] = da @ w_ih
    return dx, dh, dw_ih, dw_hh, db_ih, db_hh, None


def check(dims: Dims, o: Options) -> None:
    step_count("gru", dims)
    gate_rows("gru", dims, 3)
    dims["K"] = 4 * dims["H"]


def cases(draw: Any) -> Iterator[Case]:
    def arrays(t: int, b: int, i: int, h: int) -> dict[str, Any]:
        return {
            "x": draw(t, b, i),
            "h0": draw(b, h),
            "w_ih": draw(3 * h, i),
            "w_hh": draw(3 * h, h),
            "b_ih": draw(3 * h),
            "b_hh": draw(3 * h),
        }

    yield Case("three steps", arrays(3, 2, 4, 3))
    own = {"lengths": np.array([2, 4, 0]), "b_ih": None, "b_hh": None}
    yield Case("own lengths, no biases", {**arrays(4, 3, 2, 5), **own})
    yield Case("one step, one bias", {**arrays(1, 2, 3, 4), "b_hh": None})
    yield Case("no batch", arrays(2, 0, 4, 3))


GOOD = {"x": (3, 2, 4), "h0": (2, 5), "w_ih": (15, 4), "w_hh": (15, 5)}

SPEC = Op(
    name="gru",
    path="layers/gru",
    doc=__doc__,
    args=(
        Arg("x", "T B I"),
        Arg("h0", "B H"),
        Arg("w_ih", "G I"),
        Arg("w_hh", "G H"),
        Arg("b_ih", "G", optional=True),
        Arg("b_hh", "G", optional=True),
        Arg("lengths", "B", kind="index", below="L", optional=True),
    ),
    out="T B H",
    residuals={"y": "T B H", "gates": "T B K"},
    saves=("x", "h0", "w_ih", "w_hh", "b_ih", "b_hh", "lengths"),
    check=check,
    rejects=(
        Reject(
            "w_ih has 16 rows, expected 15, 3 gates of 5 units",
            {**GOOD, "w_ih": (16, 4), "w_hh": (16, 5)},
        ),
        Reject("x has 0 steps, expected at least 1", {**GOOD, "x": (0, 2, 4)}),
        Reject("h0 has shape (5,), expected (B H)", {**GOOD, "h0": (5,)}),
        Reject("w_hh has shape (20, 5), but dim G is 15", {**GOOD, "w_hh": (20, 5)}),
        Reject("b_ih has shape (5,), but dim G is 15", {**GOOD, "b_ih": (5,)}),
        Reject("lengths has shape (3,), but dim B is 2", {**GOOD, "lengths": (3,)}),
        Reject(
            "lengths holds 4, expected 0 <= lengths < 4",
            {**GOOD, "lengths": (2,)},
            values={"lengths": [3, 4]},
        ),
        Reject("unknown option 'reset_after'; it takes []", GOOD, {"reset_after": True}),
    ),
    limits={"typical": (0.75, 0.4), "large": (0.75, 0.4)},
    bench={
        "small": {"T": 8, "B": 4, "I": 16, "H": 16, "G": 48},
        "typical": {"T": 128, "B": 32, "I": 128, "H": 128, "G": 384},
        "large": {"T": 128, "B": 32, "I": 256, "H": 256, "G": 768},
        "odd": {"T": 13, "B": 3, "I": 7, "H": 9, "G": 27},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
