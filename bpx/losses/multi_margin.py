r"""Multi-class hinge loss of scores with class labels over the last axis; class weights.

    wy   = weight[target]
    z    = margin - x[target] + x
    h    = max(z, 0)^p, 0 at the target
    loss = wy / V * sum_V(h)
    y    = sum(loss) / rows | sum(loss) | loss

The mean divides by the number of rows, with and without weight, as in torch; over no rows it is 0
(torch leaves its output unwritten there). weight has a gradient (torch: none). A label outside
0 <= target < V raises where its value can be seen; elsewhere (GPU, jit, vmap) its loss, its
gradient row and any mean are NaN; no label ever counts as another class.
Source: Weston, Watkins 1999, "Support Vector Machines for Multi-Class Pattern Recognition", ESANN;
p and reductions as in torch.nn.MultiMarginLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reduce, reduce_adjoint, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, number, one_of, require

KINKS = "0 for the slope of max(z, 0) at z = 0 with p = 1 (as torch)"


def _lines(x: Any, target: Any, weight: Any, p: int, margin: float) -> Any:
    w = np.ones(x.shape[-1]) if weight is None else weight
    wy = w[target]
    z = margin - np.take_along_axis(x, target[..., None], -1) + x
    counts = ~(z.real <= 0) & (np.arange(x.shape[-1]) != target[..., None])
    return w, wy, z, counts, np.where(counts, z**p, 0)


def forward(
    x: Any, target: Any, weight: Any = None, *, p: int, margin: float, reduction: str
) -> Any:
    _, wy, _, _, h = _lines(x, target, weight, p, margin)
    return reduce(wy / x.shape[-1] * h.sum(-1), reduction), ()


def backward(
    dy: Any, x: Any, target: Any, weight: Any = None, *, p: int, margin: float, reduction: str
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    w, wy, z, counts, h = _lines(x, target, weight, p, margin)
    dloss = reduce_adjoint(dy, wy, reduction)  # y = reduce(loss)
    dwy = dloss / x.shape[-1] * h.sum(-1)  # loss = wy / V * sum_V(h)
    dh = (dloss * wy / x.shape[-1])[..., None]
    dz = np.where(counts, dh * p * z ** (p - 1), 0)  # h = where(counts, z^p, 0)
    dx = dz.copy()  # z = margin - x[target] + x
    dxy = np.take_along_axis(dx, target[..., None], -1) - dz.sum(-1, keepdims=True)
    np.put_along_axis(dx, target[..., None], dxy, -1)
    dw = np.zeros_like(w)
    np.add.at(dw, target, dwy)  # wy = weight[target]
    return dx, None, None if weight is None else dw


def cases(draw: Any) -> Iterator[Case]:
    def arrays(v: int, *rows: int, weight: bool = False) -> dict[str, Any]:
        w = 0.5 + draw.uniform(v) if weight else None
        return {"x": draw(*rows, v), "target": draw.index(v, *rows), "weight": w}

    yield Case("mean weight", arrays(4, 2, 3, weight=True))
    yield Case("squares", arrays(6, 4, weight=True), {"p": 2, "reduction": "sum"})
    yield Case("none", arrays(5, 3), {"margin": 0.4, "reduction": "none"})
    yield Case("one row", arrays(6), {"p": 2, "margin": 2.5})
    yield Case("no rows", arrays(5, 0, weight=True))
    found = {"x": np.array([[1.5, 0.5, 2.0], [0.25, 3.0, 2.0]]), "target": np.array([0, 1])}
    yield Case("kinks", found, {"reduction": "none"}, kink=KINKS)


def check(dims: Dims, options: Options) -> None:
    check_reduction("multi_margin", options)
    one_of("multi_margin", "p", options["p"], (1, 2))
    number("multi_margin", "margin", options["margin"])
    require(dims["V"] > 0, "multi_margin: x has 0 classes, expected at least 1")


_SHAPES: dict[str, Any] = {"x": (3, 5), "target": (3,), "weight": None}

SPEC = Op(
    name="multi_margin",
    path="losses/multi_margin",
    doc=__doc__,
    args=(
        Arg("x", "*N V"),
        Arg("target", "*N", kind="index", below="V"),
        Arg("weight", "V", optional=True),
    ),
    out=out,
    saves=("x", "target", "weight"),
    options={"p": 1, "margin": 1.0, "reduction": "mean"},
    check=check,
    kinks=KINKS,
    rejects=(
        Reject("target has shape (2,), but dim N is (3,)", {**_SHAPES, "target": (2,)}),
        Reject("weight has shape (4,), but dim V is 5", {**_SHAPES, "weight": (4,)}),
        Reject("x has 0 classes", {**_SHAPES, "x": (3, 0)}),
        Reject("p is 3, expected one of [1, 2]", _SHAPES, {"p": 3}),
        Reject("margin is None, expected a number", _SHAPES, {"margin": None}),
        reject_reduction(_SHAPES),
        Reject("target holds 5, expected 0 <= target < 5", _SHAPES, values={"target": [0, 5, 2]}),
        Reject("expected a floating dtype", _SHAPES, dtypes={"x": "int64"}),
        Reject("expected an integer dtype", _SHAPES, dtypes={"target": "float32"}),
    ),
    bench=rows.LOGITS,
    forward=forward,
    backward=backward,
    cases=cases,
)
