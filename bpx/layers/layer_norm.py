r"""Layer normalisation over the last axis.

    mu   = mean_D(x)
    rstd = 1 / sqrt(mean_D((x - mu)^2) + eps)
    y    = (x - mu) * rstd * weight + bias

eps is added to the biased variance, inside the root; the variance takes a second pass over x - mu,
so that a large mean costs no digits.
Source: Ba, Kiros, Hinton 2016, "Layer Normalization", arXiv:1607.06450, section 3; eps as in
torch.nn.LayerNorm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bpx import bench_rows as rows
from bpx.spec import Arg, Case, Op, Reject, require
from bpx.special import inverse_root


def forward(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    n = max(x.shape[-1], 1)
    mu = x.sum(-1, keepdims=True) / n
    xc = x - mu
    rstd = inverse_root((xc * xc).sum(-1, keepdims=True) / n + eps)
    xhat = xc * rstd
    y = xhat * (1 if weight is None else weight) + (0 if bias is None else bias)
    return y, (mu, rstd)


def backward(dy: Any, x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    n, rows = max(x.shape[-1], 1), tuple(range(x.ndim - 1))
    _, (mu, rstd) = forward(x, weight, bias, eps=eps)
    xc = x - mu
    dbias = None if bias is None else dy.sum(rows)  # y = xhat * weight + bias
    dweight = None if weight is None else (dy * (xc * rstd)).sum(rows)
    dxhat = dy if weight is None else dy * weight
    drstd = (dxhat * xc).sum(-1, keepdims=True)  # xhat = xc * rstd
    dxc = dxhat * rstd
    dxc = dxc + drstd * -0.5 * rstd**3 * 2 * xc / n  # rstd = (sum(xc^2) / n + eps)^(-1/2)
    dx = dxc - dxc.sum(-1, keepdims=True) / n  # xc = x - sum(x) / n
    return dx, dweight, dbias


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x": draw(2, 3, 5), "weight": draw(5), "bias": draw(5)})
    yield Case("loud eps", {"x": draw(3, 7), "weight": draw(7), "bias": None}, {"eps": 0.3})
    yield Case("no weight", {"x": draw(2, 5), "weight": None, "bias": draw(5)})
    yield Case("one row", {"x": draw(6), "weight": None, "bias": None})
    one = {"x": draw(3, 1), "weight": draw(1), "bias": draw(1)}
    yield Case("one column", one, cancels=1e3)  # |dy weight| / sqrt(eps): x - mean(x) is 0
    yield Case("no rows", {"x": draw(0, 5), "weight": draw(5), "bias": draw(5)})
    yield Case("small x", {"x": 1e-3 * draw(3, 5), "weight": draw(5), "bias": draw(5)})
    yield Case("far from zero", {"x": draw(3, 5) + 1e3, "weight": draw(5), "bias": draw(5)})


SPEC = Op(
    name="layer_norm",
    path="layers/layer_norm",
    doc=__doc__,
    args=(
        Arg("x", "*N D"),
        Arg("weight", "D", optional=True),
        Arg("bias", "D", optional=True),
    ),
    out="*N D",
    residuals={"mu": "*N 1", "rstd": "*N 1"},
    saves=("x", "weight"),
    options={"eps": 1e-5},
    check=lambda dims, o: require(
        o["eps"] > 0, f"layer_norm: eps is {o['eps']}, expected a number above 0"
    ),
    rejects=(
        Reject(
            "weight has shape (4,), but dim D is 5", {"x": (2, 5), "weight": (4,), "bias": None}
        ),
        Reject(
            "bias has shape (5, 1), expected (D)", {"x": (2, 5), "weight": None, "bias": (5, 1)}
        ),
        Reject("x has shape (), expected (*N D)", {"x": (), "weight": None, "bias": None}),
        Reject("eps is 0", {"x": (2, 5), "weight": None, "bias": None}, {"eps": 0}),
        Reject(
            "unknown option 'epsilon'; it takes ['eps']",
            {"x": (2, 5), "weight": None, "bias": None},
            {"epsilon": 1e-5},
        ),
    ),
    bench=rows.FEATURES,
    forward=forward,
    backward=backward,
    cases=cases,
)
