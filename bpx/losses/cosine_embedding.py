r"""Cosine distance of similar pairs (target 1), cosine above a margin of others (-1).

    s    = sum_D(x1 * x2),  m1 = sum_D(x1^2) + eps,  m2 = sum_D(x2^2) + eps
    cos  = s / sqrt(m1 * m2)
    over = max(cos - margin, 0)
    loss = (1 + target) / 2 * (1 - cos) + (1 - target) / 2 * over
    y    = sum(loss) / rows | sum(loss) | loss

At target = 1 the loss is 1 - cos, at -1 it is over; between them it is linear in target, which has
a gradient (torch: 0 for every other target, and no gradient). A row of zeros has cos 0 and a finite
gradient while eps > 0. The mean over no rows is 0 (torch: NaN).
Source: cosine similarity of Salton, McGill 1983, "Introduction to Modern Information Retrieval";
eps = 1e-12 and options as in torch.nn.CosineEmbeddingLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reduce, reduce_adjoint, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, number, require

KINKS = "1 for the slope of max(cos - margin, 0) at cos = margin (as torch to 2.13; from 2.14 on 0)"


def _lines(x1: Any, x2: Any, margin: float, eps: float) -> Any:
    s = (x1 * x2).sum(-1)
    m1, m2 = (x1 * x1).sum(-1) + eps, (x2 * x2).sum(-1) + eps
    root = np.sqrt(m1 * m2)
    cos = s / root
    return s, m1, m2, root, cos, np.where(cos.real - margin >= 0, cos - margin, 0)


def forward(x1: Any, x2: Any, target: Any, *, margin: float, eps: float, reduction: str) -> Any:
    *_, cos, over = _lines(x1, x2, margin, eps)
    loss = (1 + target) / 2 * (1 - cos) + (1 - target) / 2 * over
    return reduce(loss, reduction), ()


def backward(
    dy: Any, x1: Any, x2: Any, target: Any, *, margin: float, eps: float, reduction: str
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    s, m1, m2, root, cos, over = _lines(x1, x2, margin, eps)
    dloss = reduce_adjoint(dy, cos, reduction)  # y = reduce(loss)
    dtarget = dloss / 2 * (1 - cos) - dloss / 2 * over  # loss = (1 + target) / 2 * (1 - cos) + ...
    dcos = -dloss * (1 + target) / 2
    dover = dloss * (1 - target) / 2
    dcos = dcos + np.where(cos - margin >= 0, dover, 0)  # over = max(cos - margin, 0)
    ds = dcos / root  # cos = s / root
    droot = -dcos * s / root**2
    dm1 = droot * m2 / (2 * root)  # root = sqrt(m1 * m2)
    dm2 = droot * m1 / (2 * root)
    dx1 = (dm1[..., None] * x1) * 2  # m1 = sum_D(x1 * x1) + eps
    dx2 = (dm2[..., None] * x2) * 2  # m2 = sum_D(x2 * x2) + eps
    dx1 = dx1 + ds[..., None] * x2  # s = sum_D(x1 * x2)
    dx2 = dx2 + ds[..., None] * x1
    return dx1, dx2, dtarget


def cases(draw: Any) -> Iterator[Case]:
    def arrays(d: int, *rows: int) -> dict[str, Any]:
        target = np.where(draw(*rows) > 0, 1.0, -1.0)
        return {"x1": draw(*rows, d), "x2": draw(*rows, d), "target": target}

    found = arrays(5, 2, 3)
    found["target"] = np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]])
    yield Case("mean", found)
    yield Case("sum", arrays(4, 7), {"margin": -0.3, "reduction": "sum"})
    found = arrays(3, 4)
    found["target"] = 2 * draw.uniform(4) - 1
    yield Case("between", found, {"margin": 0.1, "eps": 0.5, "reduction": "none"})
    yield Case("one row", arrays(6), {"margin": -0.9})
    yield Case("no rows", arrays(5, 0))
    found = {"x1": np.array([[1.0, 0.0, 2.0], [0.5, -1.5, 0.0]]), "target": np.array([-1.0, 1.0])}
    found["x2"] = np.array([[0.0, 3.0, 0.0], [0.0, 0.0, 2.0]])
    yield Case("kinks", found, {"reduction": "none"}, kink=KINKS)


def check(dims: Dims, options: Options) -> None:
    check_reduction("cosine_embedding", options)
    number("cosine_embedding", "margin", options["margin"])
    number("cosine_embedding", "eps", options["eps"])
    eps = options["eps"]
    require(eps >= 0, f"cosine_embedding: eps is {eps}, expected at least 0")


_SHAPES: dict[str, Any] = {"x1": (3, 5), "x2": (3, 5), "target": (3,)}

SPEC = Op(
    name="cosine_embedding",
    path="losses/cosine_embedding",
    doc=__doc__,
    args=(Arg("x1", "*N D"), Arg("x2", "*N D"), Arg("target", "*N", domain=(-1.0, 1.0))),
    out=out,
    saves=("x1", "x2", "target"),
    options={"margin": 0.0, "eps": 1e-12, "reduction": "mean"},
    check=check,
    kinks=KINKS,
    rejects=(
        Reject("x2 has shape (3, 4), but dim D is 5", {**_SHAPES, "x2": (3, 4)}),
        Reject("target has shape (), but dim N is (3,)", {**_SHAPES, "target": ()}),
        Reject("margin is None, expected a number", _SHAPES, {"margin": None}),
        Reject("eps is -1.0, expected at least 0", _SHAPES, {"eps": -1.0}),
        Reject("eps is None, expected a number", _SHAPES, {"eps": None}),
        reject_reduction(_SHAPES),
        Reject("expected a floating dtype", _SHAPES, dtypes={"target": "int64"}),
    ),
    bench=rows.PAIRS,
    forward=forward,
    backward=backward,
    cases=cases,
)
