r"""Long short-term memory, one direction: all hidden states and cell states of a sequence.

    i_t = sigmoid(x_t w_ii^T + b_ii + h_{t-1} w_hi^T + b_hi)       t = 1 .. T
    f_t = sigmoid(x_t w_if^T + b_if + h_{t-1} w_hf^T + b_hf)
    g_t = tanh(x_t w_ig^T + b_ig + h_{t-1} w_hg^T + b_hg)
    o_t = sigmoid(x_t w_io^T + b_io + h_{t-1} w_ho^T + b_ho)
    c_t = f_t c_{t-1} + i_t g_t
    h_t = o_t tanh(c_t)
    y   = (h_1 .. h_T, c_1 .. c_T)

x is (steps, batch, features). w_ih holds the rows of i, f, g, o in this order, and so do w_hh and
the biases, as in torch; nothing is added to the forget gate, and no gate sees the cell. y stacks
both sequences: the final cell state is an output that a loss may use, so its gradient has to flow,
and sequences that end at different steps each have theirs. The backward needs all cell states
anyway. `gates` keeps i, f, g, o.
lengths holds the number of steps of each sequence, 0 <= lengths < L = T + 1, T for all without it:
past its end a sequence's state stays as it is, and its rows of y and gates are 0.
Source: Hochreiter, Schmidhuber 1997, "Long Short-Term Memory", Neural Computation 9(8); the forget
gate: Gers, Schmidhuber, Cummins 2000, "Learning to Forget: Continual Prediction with LSTM", Neural
Computation 12(10). The gradient is back-propagation through time (Werbos 1990), nothing truncated.
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
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
) -> Any:
    n_units = h0.shape[-1]
    h, c, states, cells, gates = h0, c0, [], [], []
    for t, x_t in enumerate(x):
        runs = running(lengths, t)
        a = x_t @ w_ih.T + (0 if b_ih is None else b_ih)
        a = a + h @ w_hh.T + (0 if b_hh is None else b_hh)
        a_i, a_f, a_g, a_o = (a[:, k * n_units : (k + 1) * n_units] for k in range(4))
        i = sigmoid(a_i)
        f = sigmoid(a_f)
        g = np.tanh(a_g)
        o = sigmoid(a_o)
        new = f * c + i * g
        c = np.where(runs, new, c)
        h = np.where(runs, o * np.tanh(new), h)
        states.append(np.where(runs, h, 0.0))
        cells.append(np.where(runs, c, 0.0))
        gates.append(np.where(runs, np.concatenate([i, f, g, o], axis=1), 0.0))
    y = np.stack([np.stack(states), np.stack(cells)])
    return y, (y, np.stack(gates))


def backward(
    dy: Any,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any = None,
    b_hh: Any = None,
    lengths: Any = None,
) -> Any:
    """The adjoint of forward, step by step from the last, line by line from the bottom."""
    _, (y, gates) = forward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, lengths)
    h_before, c_before = before(h0, y[0]), before(c0, y[1])
    dx, dh, dc = np.zeros_like(x), np.zeros_like(h0), np.zeros_like(c0)
    dw_ih, dw_hh = np.zeros_like(w_ih), np.zeros_like(w_hh)
    db_ih = None if b_ih is None else np.zeros_like(b_ih)
    db_hh = None if b_hh is None else np.zeros_like(b_hh)
    for t in reversed(range(len(x))):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        h, c, tanh_c = h_before[t], c_before[t], np.tanh(y[1][t])
        runs = running(lengths, t)
        dc = dc + np.where(runs, dy[1][t], 0.0)  # cells.append(c where it runs)
        dh = dh + np.where(runs, dy[0][t], 0.0)  # states.append(h where it runs)
        du = np.where(runs, dh, 0.0)  # h = o tanh(new) where it runs, else h
        dh = np.where(runs, 0.0, dh)
        do = du * tanh_c
        dnew = du * o * (1 - tanh_c**2)
        dnew = dnew + np.where(runs, dc, 0.0)  # c = new where it runs, else c
        dc = np.where(runs, 0.0, dc)
        df, di, dg = dnew * c, dnew * g, dnew * i  # new = f c + i g
        dc = dc + dnew * f
        da_o = do * o * (1 - o)  # o = sigmoid(a_o)
        da_g = dg * (1 - g**2)  # g = tanh(a_g)
        da_f = df * f * (1 - f)  # f = sigmoid(a_f)
        da_i = di * i * (1 - i)  # i = sigmoid(a_i)
        da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
        db_hh = None if db_hh is None else db_hh + da.sum(0)  # a = a + h w_hh^T + b_hh
        dw_hh = dw_hh + da.T @ h
        dh = dh + da @ w_hh
        db_ih = None if db_ih is None else db_ih + da.sum(0)  # a = x_t w_ih^T + b_ih
        dw_ih = dw_ih + da.T @ x[t]
        dx[t] = da @ w_ih
    return dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh, None


def check(dims: Dims, o: Options) -> None:
    step_count("lstm", dims)
    gate_rows("lstm", dims, 4)


def cases(draw: Any) -> Iterator[Case]:
    def arrays(t: int, b: int, i: int, h: int) -> dict[str, Any]:
        return {
            "x": draw(t, b, i),
            "h0": draw(b, h),
            "c0": draw(b, h),
            "w_ih": draw(4 * h, i),
            "w_hh": draw(4 * h, h),
            "b_ih": draw(4 * h),
            "b_hh": draw(4 * h),
        }

    yield Case("three steps", arrays(3, 2, 4, 3))
    own = {"lengths": np.array([2, 4, 0]), "b_ih": None, "b_hh": None}
    yield Case("own lengths, no biases", {**arrays(4, 3, 2, 5), **own})
    yield Case("one step, one bias", {**arrays(1, 2, 3, 4), "b_hh": None})
    yield Case("no batch", arrays(2, 0, 4, 3))


GOOD = {"x": (3, 2, 4), "h0": (2, 5), "c0": (2, 5), "w_ih": (20, 4), "w_hh": (20, 5)}
FEW = {**GOOD, "w_ih": (15, 4), "w_hh": (15, 5)}

SPEC = Op(
    name="lstm",
    path="layers/lstm",
    doc=__doc__,
    args=(
        Arg("x", "T B I"),
        Arg("h0", "B H"),
        Arg("c0", "B H"),
        Arg("w_ih", "G I"),
        Arg("w_hh", "G H"),
        Arg("b_ih", "G", optional=True),
        Arg("b_hh", "G", optional=True),
        Arg("lengths", "B", kind="index", below="L", optional=True),
    ),
    out="2 T B H",
    residuals={"y": "2 T B H", "gates": "T B G"},
    saves=("x", "h0", "c0", "w_ih", "w_hh", "lengths"),
    differentiable=("gates",),
    check=check,
    rejects=(
        Reject("w_ih has 15 rows, expected 20, 4 gates of 5 units", FEW),
        Reject("x has 0 steps, expected at least 1", {**GOOD, "x": (0, 2, 4)}),
        Reject("c0 is None, expected (B H)", {**GOOD, "c0": None}),
        Reject("c0 has shape (2, 4), but dim H is 5", {**GOOD, "c0": (2, 4)}),
        Reject("w_hh has shape (15, 5), but dim G is 20", {**GOOD, "w_hh": (15, 5)}),
        Reject("b_hh has shape (5,), but dim G is 20", {**GOOD, "b_hh": (5,)}),
        Reject("lengths has shape (3,), but dim B is 2", {**GOOD, "lengths": (3,)}),
        Reject(
            "lengths holds 4, expected 0 <= lengths < 4",
            {**GOOD, "lengths": (2,)},
            values={"lengths": [3, 4]},
        ),
        Reject("unknown option 'proj_size'; it takes []", GOOD, {"proj_size": 2}),
    ),
    limits={"typical": (1.0, 0.4), "large": (1.0, 0.4)},
    bench={
        "small": {"T": 8, "B": 4, "I": 16, "H": 16, "G": 64},
        "typical": {"T": 128, "B": 32, "I": 128, "H": 128, "G": 512},
        "large": {"T": 128, "B": 32, "I": 256, "H": 256, "G": 1024},
        "odd": {"T": 13, "B": 3, "I": 7, "H": 9, "G": 36},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
