r"""Cross-entropy of logits with class labels over the last axis; class weights, label smoothing.

    lse    = log(sum_V(exp(logits)))            shifted by the row's maximum
    logp   = logits - lse
    wy     = weight[target], 0 where target is ignore_index
    nll    = -wy * logp[target]
    smooth = -sum_V(weight * logp), 0 where target is ignore_index
    loss   = (1 - label_smoothing) * nll + label_smoothing / V * smooth
    y      = sum(loss) / sum(wy) | sum(loss) | loss

The mean divides by the weights of the labels, for the smoothed part too, as in torch. Where these
weights sum to 0 (no rows, all ignored) the mean is 0 with gradient 0 (torch: NaN). An ignored row
has loss 0 and gradient 0 whatever its logits; ignore_index=None ignores none. A class with logit
-inf has probability 0; as a target it has loss inf and a finite gradient; under smoothing its loss
is inf, as in torch. A row of -inf alone, or with +inf, has no distribution: loss and gradient are
NaN. weight has a gradient (torch: none). A label outside 0 <= target < V raises where its value can
be seen; elsewhere (GPU, jit, vmap) wy is NaN, so that its loss, its gradient row and any mean are
NaN; no label ever counts as another class.
Source: Bridle 1990, "Training Stochastic Model Recognition Algorithms as Networks can lead to
Maximum Mutual Information Estimation of Parameters", NeurIPS 2; smoothing: Szegedy et al. 2016,
arXiv:1512.00567, section 7; weights and reductions as in torch.nn.CrossEntropyLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, require


def _lines(logits: Any, target: Any, weight: Any, ignore_index: int | None) -> Any:
    keep = np.full(target.shape, True) if ignore_index is None else target != ignore_index
    w = np.ones(logits.shape[-1]) if weight is None else weight
    label = np.where(keep, target, 0)
    top = logits.real.max(-1, keepdims=True)
    mass = np.exp(logits - top).sum(-1, keepdims=True)
    lse = top + np.log(mass)
    logp = logits - lse
    wy = np.where(keep, w[label], 0)
    return keep, w, label, top, mass, lse, logp, wy


def forward(
    logits: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None,
    reduction: str,
    label_smoothing: float,
) -> Any:
    keep, w, label, _, _, lse, logp, wy = _lines(logits, target, weight, ignore_index)
    nll = -wy * np.take_along_axis(logp, label[..., None], -1)[..., 0]
    loss = np.where(keep, (1 - label_smoothing) * nll, 0)
    if label_smoothing:
        smooth = np.where(keep, -(w * logp).sum(-1), 0)
        loss = loss + label_smoothing / logits.shape[-1] * smooth
    residuals = (lse[..., 0],)
    if reduction == "none":
        return loss, residuals
    if reduction == "sum":
        return loss.sum(), residuals
    total = wy.sum()
    return (loss.sum() / total if total != 0 else 0 * total), residuals


def backward(
    dy: Any,
    logits: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None,
    reduction: str,
    label_smoothing: float,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    keep, w, label, top, mass, _, logp, wy = _lines(logits, target, weight, ignore_index)
    logp_y = np.take_along_axis(logp, label[..., None], -1)
    dwy: Any = np.zeros(wy.shape)
    dloss = np.broadcast_to(dy, wy.shape)
    if reduction == "mean":
        total = wy.sum()
        if total == 0:
            return np.zeros_like(logits), None, None if weight is None else np.zeros_like(w)
        loss = forward(
            logits,
            target,
            weight,
            ignore_index=ignore_index,
            reduction="none",
            label_smoothing=label_smoothing,
        )[0]
        dloss = dloss / total  # y = sum(loss) / total
        dtotal = -dy * loss.sum() / total**2
        dwy = dwy + dtotal  # total = sum(wy)
    dlogp = np.zeros_like(logits)
    dw = np.zeros_like(w)
    if label_smoothing:
        # loss = ... + label_smoothing / V * smooth;  smooth = where(keep, -sum_V(w * logp), 0)
        dsmooth = np.where(keep, label_smoothing / logits.shape[-1] * dloss, 0)[..., None]
        dlogp = dlogp - dsmooth * w
        dw = dw - np.where(keep[..., None], dsmooth * logp, 0).reshape(-1, w.size).sum(0)
    dnll = np.where(keep, (1 - label_smoothing) * dloss, 0)  # loss = where(keep, (1 - s) * nll, 0)
    dlogp_y = (-dnll * wy)[..., None]  # nll = -wy * logp[target]
    np.put_along_axis(
        dlogp, label[..., None], np.take_along_axis(dlogp, label[..., None], -1) + dlogp_y, -1
    )
    dwy = dwy - dnll * logp_y[..., 0]
    np.add.at(dw, label[keep], dwy[keep])  # wy = where(keep, w[target], 0)
    dlse = -dlogp.sum(-1, keepdims=True)  # logp = logits - lse
    dmass = dlse / mass  # lse = top + log(mass)
    # mass = sum_V(exp(logits - top)); top is a shift: its paths here and in lse cancel
    dlogits = dlogp + dmass * np.exp(logits - top)
    return dlogits, None, None if weight is None else dw


def cases(draw: Any) -> Iterator[Case]:
    def arrays(v: int, *rows: int, weight: bool = False) -> dict[str, Any]:
        w = 0.5 + draw.uniform(v) if weight else None
        return {"logits": draw(*rows, v), "target": draw.index(v, *rows), "weight": w}

    def ignoring(found: dict[str, Any], places: list[int], label: int = -100) -> dict[str, Any]:
        target = found["target"].copy()
        target.reshape(-1)[places] = label
        return {**found, "target": target}

    yield Case("mean", arrays(5, 2, 3))
    yield Case("sum weight", arrays(7, 4, weight=True), {"reduction": "sum"})
    yield Case("none", arrays(5, 2, 3), {"reduction": "none"})
    yield Case("mean weight ignored", ignoring(arrays(5, 7, weight=True), [0, 3]))
    yield Case("smoothing", arrays(5, 3), {"label_smoothing": 0.3})
    smooth = {"label_smoothing": 0.3, "ignore_index": 2}
    found = ignoring(arrays(5, 2, 4, weight=True), [0, 5], 2)
    yield Case("smoothing weight ignored", found, smooth)
    yield Case("smoothing sum", found, {**smooth, "reduction": "sum"})
    yield Case("all smoothing none", found, {**smooth, "label_smoothing": 1.0, "reduction": "none"})
    yield Case("keep all", arrays(5, 7, weight=True), {"ignore_index": None})
    yield Case("one row", arrays(6, weight=True), {"label_smoothing": 0.2})
    yield Case("one class", arrays(1, 3), constant="one class: every label is 0")
    yield Case("no rows", arrays(5, 0, weight=True))
    yield Case("no rows none", arrays(5, 0), {"reduction": "none"})
    none_left = ignoring(arrays(5, 3, weight=True), [0, 1, 2])
    why = "every label is ignored"
    yield Case("all ignored", none_left, {"label_smoothing": 0.2}, constant=why)
    yield Case("all ignored none", none_left, {"reduction": "none"}, constant=why)
    again = np.array([3, 1, 3, 3, 1])
    yield Case("duplicates", {**arrays(4, 5, weight=True), "target": again})
    found = arrays(6, 4, weight=True)
    found["target"] = np.array([0, 2, 5, 2])
    found["logits"][[0, 1, 1, 3], [1, 0, 3, 4]] = -np.inf
    yield Case("masked classes", found)
    found = arrays(5, 3)
    yield Case("large logits", {**found, "logits": 1e4 * found["logits"]}, {"reduction": "none"})


def check(dims: Dims, options: Options) -> None:
    check_reduction("cross_entropy", options)
    require(dims["V"] > 0, "cross_entropy: logits has 0 classes, expected at least 1")
    s = options["label_smoothing"]
    require(0 <= s <= 1, f"cross_entropy: label_smoothing is {s}, expected 0 to 1")


_SHAPES: dict[str, Any] = {"logits": (3, 5), "target": (3,), "weight": None}

SPEC = Op(
    name="cross_entropy",
    path="losses/cross_entropy",
    doc=__doc__,
    args=(
        Arg("logits", "*N V"),
        Arg("target", "*N", kind="index", below="V", ignore="ignore_index"),
        Arg("weight", "V", optional=True),
    ),
    out=out,
    residuals={"lse": "*N"},
    saves=("logits", "target", "weight"),
    options={"ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0},
    check=check,
    rejects=(
        Reject("target has shape (2,), but dim N is (3,)", {**_SHAPES, "target": (2,)}),
        Reject("weight has shape (4,), but dim V is 5", {**_SHAPES, "weight": (4,)}),
        Reject("logits has shape (), expected (*N V)", {**_SHAPES, "logits": (), "target": ()}),
        Reject("logits has 0 classes", {**_SHAPES, "logits": (3, 0)}),
        Reject("label_smoothing is 1.5, expected 0 to 1", _SHAPES, {"label_smoothing": 1.5}),
        Reject("label_smoothing is -0.1, expected 0 to 1", _SHAPES, {"label_smoothing": -0.1}),
        reject_reduction(_SHAPES),
        Reject(
            "target holds 5, expected 0 <= target < 5 or ignore_index=-100",
            _SHAPES,
            values={"target": [0, 5, 2]},
        ),
        Reject("target holds -1, expected", _SHAPES, values={"target": [0, 4, -1]}),
        Reject("expected a floating dtype", _SHAPES, dtypes={"logits": "int64"}),
        Reject("expected an integer dtype", _SHAPES, dtypes={"target": "float32"}),
    ),
    bench=rows.LOGITS,
    forward=forward,
    backward=backward,
    cases=cases,
)
