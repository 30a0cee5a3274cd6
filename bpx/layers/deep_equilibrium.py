r"""Deep equilibrium layer: the fixed point of one tanh layer with its input injected.

    b_x = x w_xz^T + bias
    z   <- tanh(z w_zz^T + b_x)        max_iter times, from z = 0
    y   = z,  NaN where the last step moved z by more than sqrt(eps) (1 + max|z|)

The gradient is that of the equilibrium z = tanh(z w_zz^T + b_x) and does not see the iterations:

    dz (I - diag(1 - y^2) w_zz) = dy         one linear system for each row
    da = dz (1 - y^2)

A spectral norm of w_zz below 1 makes the step a contraction: one equilibrium, reached from
anywhere, each step nearer by that factor. Where max_iter steps did not reach it the row is NaN,
which no later step hides; eps is that of the dtype computed in (float32 at least). Only y is kept
beside the arguments. For an equilibrium of any function there is `fixed_point`.
Source: Bai, Kolter, Koltun 2019, "Deep Equilibrium Models", arXiv:1909.01377, eq. 4 and theorem 1;
Almeida 1987; Pineda 1987, "Generalization of back-propagation to recurrent neural networks",
Physical Review Letters 59.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def forward(x: Any, w_zz: Any, w_xz: Any, bias: Any = None, *, max_iter: int) -> Any:
    b_x = x @ w_xz.T + (0 if bias is None else bias)
    z = moved = np.zeros_like(b_x)
    for _ in range(max_iter):
        before, z = z, np.tanh(z @ w_zz.T + b_x)
        moved = z - before
    far = np.abs(moved.real).max(-1, initial=0, keepdims=True)
    size = 1 + np.abs(z.real).max(-1, initial=0, keepdims=True)
    y = np.where(far <= np.sqrt(np.finfo(np.float64).eps) * size, z, np.nan)
    return y, (y,)


def backward(dy: Any, x: Any, w_zz: Any, w_xz: Any, bias: Any = None, *, max_iter: int) -> Any:
    """The adjoint of the equation y = tanh(y w_zz^T + b_x), solved exactly, line by line."""
    y, _ = forward(x, w_zz, w_xz, bias, max_iter=max_iter)
    slope = 1 - y**2
    system = np.eye(len(w_zz)) - slope[..., :, None] * w_zz  # y = tanh(y w_zz^T + b_x)
    found = np.isfinite(y).all(-1)[..., None, None]
    solved = np.linalg.solve(
        np.where(found, system, np.eye(len(w_zz))).swapaxes(-1, -2), dy[..., None]
    )
    dz = np.where(found[..., 0], solved[..., 0], np.nan)
    da = dz * slope
    rows, points, inputs = (v.reshape(-1, v.shape[-1]) for v in (da, y, x))
    dw_zz = rows.T @ points  # a = y w_zz^T + b_x
    dbias = None if bias is None else rows.sum(0)  # b_x = x w_xz^T + bias
    dw_xz = rows.T @ inputs
    return da @ w_xz, dw_zz, dw_xz, dbias


def check(dims: Dims, o: Options) -> None:
    steps = o["max_iter"]
    require(
        isinstance(steps, int) and steps > 0,
        f"deep_equilibrium: max_iter is {steps!r}, expected a positive integer",
    )


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*rows: int, i: int, h: int, norm: float = 0.4) -> dict[str, Any]:
        w = draw(h, h)
        w = w * norm / np.linalg.norm(w, 2)
        return {"x": draw(*rows, i), "w_zz": w, "w_xz": draw(h, i), "bias": draw(h)}

    yield Case("two rows", arrays(2, i=3, h=4))
    yield Case("slow", arrays(3, i=2, h=3, norm=0.85), {"max_iter": 250})
    yield Case("two axes, no bias", {**arrays(2, 3, i=4, h=2), "bias": None})
    yield Case("one vector, one unit", arrays(i=2, h=1))
    yield Case("no rows", arrays(0, i=3, h=2))
    far = arrays(2, i=2, h=2)
    far |= {"w_zz": np.array([[-3.0, 0.1], [0.2, -4.0]]), "bias": None}
    far["x"] = np.array([[0.02, -0.01], [0.01, 0.03]])
    yield Case("no equilibrium reached", far, kink="the step is no contraction: y is NaN")


GOOD = {"x": (2, 3), "w_zz": (4, 4), "w_xz": (4, 3), "bias": (4,)}

SPEC = Op(
    name="deep_equilibrium",
    path="layers/deep_equilibrium",
    doc=__doc__,
    args=(
        Arg("x", "*N I"),
        Arg("w_zz", "H H"),
        Arg("w_xz", "H I"),
        Arg("bias", "H", optional=True),
    ),
    out="*N H",
    residuals={"y": "*N H"},
    saves=("x", "w_zz", "w_xz"),
    options={"max_iter": 50},
    check=check,
    rejects=(
        Reject("w_zz has shape (4, 5), but dim H is 4", {**GOOD, "w_zz": (4, 5)}),
        Reject("w_xz has shape (4, 2), but dim I is 3", {**GOOD, "w_xz": (4, 2)}),
        Reject("bias has shape (3,), but dim H is 4", {**GOOD, "bias": (3,)}),
        Reject("max_iter is 0, expected a positive integer", GOOD, {"max_iter": 0}),
        Reject("max_iter is 2.5, expected a positive integer", GOOD, {"max_iter": 2.5}),
        Reject("expected a floating dtype", GOOD, dtypes={"x": "int64"}),
    ),
    bench={
        "small": {"N": 16, "I": 16, "H": 16},
        "typical": {"N": 64, "I": 64, "H": 64},
        "large": {"N": 256, "I": 128, "H": 128},
        "odd": {"N": 13, "I": 7, "H": 9},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
