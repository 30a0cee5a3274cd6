r"""Reversible residual block of two halves, each moved by one tanh layer of the other.

    x1, x2 = the halves of x along the last axis
    y1     = x1 + tanh(x2 w_f^T)
    y2     = x2 + tanh(y1 w_g^T)
    y      = [y1, y2]

x need not be kept: x2 = y2 - tanh(y1 w_g^T) and x1 = y1 - tanh(x2 w_f^T). The rules keep y alone
beside the weights and compute x2 again, to the rounding of y: where x2 is small beside y2 it has
fewer digits. For branches of any kind, and a stack of blocks whose memory does not grow with its
depth, there are `bpx_torch.nn.ReversibleSequence` and `bpx_jax.reversible_sequence`.
Source: Gomez, Ren, Urtasun, Grosse 2017, "The Reversible Residual Network: Backpropagation Without
Storing Activations", arXiv:1707.04585, eq. 6-8 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def _lines(x: Any, w_f: Any, w_g: Any) -> Any:
    d = len(w_f)
    x1, x2 = x[..., :d], x[..., d:]
    f = np.tanh(x2 @ w_f.T)
    y1 = x1 + f
    g = np.tanh(y1 @ w_g.T)
    return x2, f, y1, g, x2 + g


def forward(x: Any, w_f: Any, w_g: Any) -> Any:
    _, _, y1, _, y2 = _lines(x, w_f, w_g)
    y = np.concatenate([y1, y2], -1)
    return y, (y,)


def backward(dy: Any, x: Any, w_f: Any, w_g: Any) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    x2, f, y1, g, _ = _lines(x, w_f, w_g)
    d = len(w_f)
    dy1, dy2 = dy[..., :d], dy[..., d:]  # y = [y1, y2]
    dx2, dg = dy2, dy2  # y2 = x2 + g
    db = dg * (1 - g**2)  # g = tanh(y1 w_g^T)
    dw_g = np.einsum("ni,nj->ij", db.reshape(-1, d), y1.reshape(-1, d))
    dy1 = dy1 + db @ w_g
    dx1, df = dy1, dy1  # y1 = x1 + f
    da = df * (1 - f**2)  # f = tanh(x2 w_f^T)
    dw_f = np.einsum("ni,nj->ij", da.reshape(-1, d), x2.reshape(-1, d))
    dx2 = dx2 + da @ w_f
    return np.concatenate([dx1, dx2], -1), dw_f, dw_g  # x1, x2 = halves


def check(dims: Dims, o: Options) -> None:
    width, half = dims["W"], dims["D"]
    require(
        width == 2 * half,
        f"reversible: x has {width} features, expected {2 * half}, twice the {half} of w_f",
    )


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*rows: int, half: int) -> dict[str, Any]:
        w = {"w_f": draw(half, half), "w_g": draw(half, half)}
        return {"x": draw(*rows, 2 * half), **w}

    yield Case("rows", arrays(5, half=3))
    yield Case("two axes", arrays(2, 3, half=2))
    yield Case("one vector", arrays(half=4))
    yield Case("no rows", arrays(0, half=2))
    yield Case("one row", arrays(1, half=3))
    small = arrays(4, half=2)
    small["x"][:, 2:] *= 1e-3  # what y2 - g gives back of x2 has the rounding of g
    yield Case("small beside the branch", small, cancels=1.0)


GOOD = {"x": (5, 6), "w_f": (3, 3), "w_g": (3, 3)}

SPEC = Op(
    name="reversible",
    path="layers/reversible",
    doc=__doc__,
    args=(Arg("x", "*N W"), Arg("w_f", "D D"), Arg("w_g", "D D")),
    out="*N W",
    residuals={"y": "*N W"},
    saves=("w_f", "w_g"),
    check=check,
    rejects=(
        Reject("x has 5 features, expected 6, twice the 3 of w_f", {**GOOD, "x": (5, 5)}),
        Reject("w_f has shape (3, 2), but dim D is 3", {**GOOD, "w_f": (3, 2)}),
        Reject("w_g has shape (2, 2), but dim D is 3", {**GOOD, "w_g": (2, 2)}),
        Reject("w_g is None, expected (D D)", {**GOOD, "w_g": None}),
        Reject("x has shape (), expected (*N W)", {**GOOD, "x": ()}),
    ),
    bench={
        "small": {"N": 16, "W": 32, "D": 16},
        "typical": {"N": 1024, "W": 128, "D": 64},
        "large": {"N": 4096, "W": 256, "D": 128},
        "odd": {"N": 101, "W": 26, "D": 13},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
