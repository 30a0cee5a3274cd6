r"""Negative log-likelihood: log-probabilities with class labels over the last axis; class weights.

    wy   = weight[target], 0 where target is ignore_index
    loss = -wy * x[target], 0 where target is ignore_index
    y    = sum(loss) / sum(wy) | sum(loss) | loss

The mean divides by the weights of the labels, as in torch. Where these weights sum to 0 (no rows,
all ignored) the mean is 0 with gradient 0 (torch: NaN). An ignored row has loss 0 and gradient 0
whatever its x; ignore_index=None ignores none. weight has a gradient (torch: none). Nothing asks a
row of x to be log-probabilities. A label outside 0 <= target < V raises where its value can be
seen; elsewhere (GPU, jit, vmap) wy is NaN, so that its loss, its gradient row and any mean are NaN;
no label ever counts as another class. Keeps x[target] (picked), 0 in an ignored row.
Source: Fisher 1922, "On the Mathematical Foundations of Theoretical Statistics",
doi:10.1098/rsta.1922.0009; weights and reductions as in torch.nn.NLLLoss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, require


def _lines(x: Any, target: Any, weight: Any, ignore_index: int | None) -> Any:
    keep = np.full(target.shape, True) if ignore_index is None else target != ignore_index
    w = np.ones(x.shape[-1]) if weight is None else weight
    label = np.where(keep, target, 0)
    xy = np.take_along_axis(x, label[..., None], -1)[..., 0]
    wy = np.where(keep, w[label], 0)
    loss = np.where(keep, -wy * xy, 0)
    return keep, w, label, xy, wy, loss


def forward(
    x: Any, target: Any, weight: Any = None, *, ignore_index: int | None, reduction: str
) -> Any:
    keep, _, _, xy, wy, loss = _lines(x, target, weight, ignore_index)
    picked = (np.where(keep, xy, 0),)
    if reduction == "none":
        return loss, picked
    if reduction == "sum":
        return loss.sum(), picked
    total = wy.sum()
    return (loss.sum() / total if total != 0 else 0 * total), picked


def backward(
    dy: Any,
    x: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None,
    reduction: str,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    keep, w, label, xy, wy, loss = _lines(x, target, weight, ignore_index)
    dwy: Any = np.zeros(wy.shape)
    dloss = np.broadcast_to(dy, wy.shape)
    if reduction == "mean":
        total = wy.sum()
        if total == 0:
            return np.zeros_like(x), None, None if weight is None else np.zeros_like(w)
        dloss = dloss / total  # y = sum(loss) / total
        dtotal = -dy * loss.sum() / total**2
        dwy = dwy + dtotal  # total = sum(wy)
    dloss = np.where(keep, dloss, 0)  # loss = where(keep, -wy * xy, 0)
    dxy = np.where(keep, -dloss * wy, 0)
    dwy = dwy + np.where(keep, -dloss * xy, 0)
    dw = np.zeros_like(w)
    np.add.at(dw, label[keep], dwy[keep])  # wy = where(keep, w[label], 0)
    dx = np.zeros_like(x)
    np.put_along_axis(dx, label[..., None], dxy[..., None], -1)  # xy = x[label]
    return dx, None, None if weight is None else dw


def cases(draw: Any) -> Iterator[Case]:
    def arrays(v: int, *rows: int, weight: bool = False) -> dict[str, Any]:
        w = 0.5 + draw.uniform(v) if weight else None
        return {"x": draw(*rows, v) - 1, "target": draw.index(v, *rows), "weight": w}

    def ignoring(found: dict[str, Any], places: list[int], label: int = -100) -> dict[str, Any]:
        target = found["target"].copy()
        target.reshape(-1)[places] = label
        return {**found, "target": target}

    yield Case("mean weight", arrays(4, 2, 3, weight=True))
    yield Case("sum", arrays(7, 4), {"reduction": "sum"})
    yield Case("mean ignored", ignoring(arrays(5, 6, weight=True), [0, 3], 2), {"ignore_index": 2})
    yield Case("none", arrays(5, 3, weight=True), {"reduction": "none", "ignore_index": None})
    yield Case("one row", arrays(6, weight=True), {"reduction": "sum"})
    yield Case("no rows", arrays(5, 0, weight=True))
    none_left = ignoring(arrays(5, 3, weight=True), [0, 1, 2])
    yield Case("all ignored", none_left, constant="every label is ignored")
    found = ignoring(arrays(5, 4), [1])
    found["x"][[0, 2, 3], (found["target"][[0, 2, 3]] + 1) % 5] = -np.inf
    found["x"][1] = -np.inf
    yield Case("masked classes", found)


def check(dims: Dims, options: Options) -> None:
    check_reduction("nll_loss", options)
    require(dims["V"] > 0, "nll_loss: x has 0 classes, expected at least 1")


_SHAPES: dict[str, Any] = {"x": (3, 5), "target": (3,), "weight": None}

SPEC = Op(
    name="nll_loss",
    path="losses/nll_loss",
    doc=__doc__,
    args=(
        Arg("x", "*N V", domain=(-math.inf, 0.0)),
        Arg("target", "*N", kind="index", below="V", ignore="ignore_index"),
        Arg("weight", "V", optional=True),
    ),
    out=out,
    residuals={"picked": "*N"},
    saves=("x", "target", "weight"),
    shapes=("x",),
    differentiable=("picked",),
    options={"ignore_index": -100, "reduction": "mean"},
    check=check,
    rejects=(
        Reject("target has shape (2,), but dim N is (3,)", {**_SHAPES, "target": (2,)}),
        Reject("weight has shape (4,), but dim V is 5", {**_SHAPES, "weight": (4,)}),
        Reject("x has 0 classes", {**_SHAPES, "x": (3, 0)}),
        reject_reduction(_SHAPES),
        Reject(
            "target holds 5, expected 0 <= target < 5 or ignore_index=-100",
            _SHAPES,
            values={"target": [0, 5, 2]},
        ),
        Reject("target holds -1, expected", _SHAPES, values={"target": [0, 4, -1]}),
        Reject("expected a floating dtype", _SHAPES, dtypes={"x": "int64"}),
        Reject("expected an integer dtype", _SHAPES, dtypes={"target": "float32"}),
    ),
    bench=rows.LOGITS,
    forward=forward,
    backward=backward,
    cases=cases,
)
