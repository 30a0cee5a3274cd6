r"""Root-mean-square normalisation over the last axis.

    rstd = 1 / sqrt(mean_D(x^2) + eps)
    y    = x * rstd * weight

eps is added to the mean square, inside the root. No mean is subtracted.
Source: Zhang, Sennrich 2019, "Root Mean Square Layer Normalization", arXiv:1910.07467, equation 4;
eps as in torch.nn.RMSNorm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require
from bpx.special import inverse_root


def forward(x: Any, weight: Any = None, *, eps: float) -> Any:
    n = max(x.shape[-1], 1)
    ms = (x * x).sum(-1, keepdims=True) / n
    rstd = inverse_root(ms + eps)
    xhat = x * rstd
    y = xhat * (1 if weight is None else weight)
    return y, (rstd,)


def backward(dy: Any, x: Any, weight: Any = None, *, eps: float) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    n, rows = max(x.shape[-1], 1), tuple(range(x.ndim - 1))
    _, (rstd,) = forward(x, weight, eps=eps)
    dweight = None if weight is None else (dy * (x * rstd)).sum(rows)  # y = xhat * weight
    dxhat = dy if weight is None else dy * weight
    drstd = (dxhat * x).sum(-1, keepdims=True)  # xhat = x * rstd
    dx = dxhat * rstd
    dms = drstd * -0.5 * rstd**3  # rstd = (ms + eps)^(-1/2)
    dx = dx + dms * 2 * x / n  # ms = sum(x^2) / n
    return dx, dweight


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "weight": draw(5)})
    yield Case("loud eps", {"x": draw(3, 7), "weight": draw(7)}, {"eps": 0.3})
    yield Case("one row", {"x": draw(6), "weight": None})
    yield Case("one column", {"x": draw(3, 1), "weight": draw(1)}, cancels=30.0)  # |dy weight / x|
    yield Case("no rows", {"x": draw(0, 5), "weight": draw(5)})
    yield Case("small x", {"x": 1e-3 * draw(3, 5), "weight": draw(5)})
    yield Case("far from zero", {"x": draw(3, 5) + 1e3, "weight": draw(5)})


def check(dims: Dims, o: Options) -> None:
    number("rms_norm", "eps", o["eps"])
    require(o["eps"] > 0, f"rms_norm: eps is {o['eps']}, expected a number above 0")


SPEC = Op(
    name="rms_norm",
    path="layers/rms_norm",
    doc=__doc__,
    args=(Arg("x", "*N D"), Arg("weight", "D", optional=True)),
    out="*N D",
    residuals={"rstd": "*N 1"},
    saves=("x", "weight"),
    options={"eps": 1e-6},
    check=check,
    rejects=(
        Reject("weight has shape (4,), but dim D is 5", {"x": (2, 5), "weight": (4,)}),
        Reject("x has shape (), expected (*N D)", {"x": (), "weight": None}),
        Reject("eps is -0.1, expected a number above 0", {"x": (2, 5)}, {"eps": -0.1}),
        Reject("eps is None, expected a number", {"x": (2, 5)}, {"eps": None}),
        Reject("unknown option 'epsilon'; it takes ['eps']", {"x": (2, 5)}, {"epsilon": 1e-5}),
    ),
    bench=rows.FEATURES,
    forward=forward,
    backward=backward,
    cases=cases,
)
