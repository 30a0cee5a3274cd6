r"""Cross-entropy of logits with class probabilities over the last axis.

    lse  = log(sum_V(exp(logits)))            shifted by the row's maximum
    logp = logits - lse
    q    = (1 - label_smoothing) * target + label_smoothing / V
    loss = -sum_V(weight * q * logp)
    y    = sum(loss) / rows | sum(loss) | loss

The mean divides by the number of rows, with and without weight, as in torch; over no rows it is 0
(torch: NaN). target need not sum to 1. A class with logit -inf and weight * q = 0 adds nothing (0
log 0 = 0; torch: NaN), and there the derivative in target and weight is 0 as well. A row of -inf
alone has no distribution: its gradient is NaN. target and weight have a gradient (torch: target
only).
Source: Kullback, Leibler 1951, "On Information and Sufficiency", doi:10.1214/aoms/1177729694;
smoothing: Szegedy et al. 2016, arXiv:1512.00567, section 7; as in torch.nn.CrossEntropyLoss with
probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import (
    check_reduction,
    out,
    reduce,
    reduce_adjoint,
    reject_reduction,
)
from bpx.spec import Arg, Case, Op, Options, Reject, require


def _lines(logits: Any, target: Any, weight: Any, s: float) -> Any:
    w = np.ones(logits.shape[-1]) if weight is None else weight
    top = logits.real.max(-1, keepdims=True)
    mass = np.exp(logits - top).sum(-1, keepdims=True)
    lse = top + np.log(mass)
    q = (1 - s) * target + s / logits.shape[-1]
    absent = np.isneginf(logits.real) & ((w * q).real == 0)
    logp = np.where(absent, 0, logits - lse)
    return w, top, mass, lse, q, absent, logp


def forward(
    logits: Any, target: Any, weight: Any = None, *, reduction: str, label_smoothing: float
) -> Any:
    w, _, _, lse, q, _, logp = _lines(logits, target, weight, label_smoothing)
    loss = -(w * q * logp).sum(-1)
    return reduce(loss, reduction), (lse[..., 0],)


def backward(
    dy: Any,
    logits: Any,
    target: Any,
    weight: Any = None,
    *,
    reduction: str,
    label_smoothing: float,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    w, top, mass, _, q, absent, logp = _lines(logits, target, weight, label_smoothing)
    dloss = reduce_adjoint(dy, logp[..., 0], reduction)[..., None]  # y = reduce(loss)
    dw = (-dloss * q * logp).reshape(-1, w.size).sum(0)  # loss = -sum_V(w * q * logp)
    dq = -dloss * w * logp
    dlogp = -dloss * w * q
    dtarget = (1 - label_smoothing) * dq  # q = (1 - s) * target + s / V
    dlogp = np.where(absent, 0, dlogp)  # logp = where(absent, 0, logits - lse)
    dlse = -dlogp.sum(-1, keepdims=True)
    dmass = dlse / mass  # lse = top + log(mass)
    # mass = sum_V(exp(logits - top)); top is a shift: its paths here and in lse cancel
    dlogits = dlogp + dmass * np.exp(logits - top)
    return dlogits, dtarget, None if weight is None else dw


def cases(draw: Any) -> Iterator[Case]:
    def arrays(v: int, *rows: int, weight: bool = False) -> dict[str, Any]:
        w = 0.5 + draw.uniform(v) if weight else None
        return {"logits": draw(*rows, v), "target": draw.uniform(*rows, v), "weight": w}

    yield Case("mean", arrays(5, 2, 3))
    yield Case("sum weight", arrays(7, 4, weight=True), {"reduction": "sum"})
    yield Case("none", arrays(5, 2, 3), {"reduction": "none"})
    yield Case("smoothing weight", arrays(5, 3, weight=True), {"label_smoothing": 0.3})
    chosen = {"label_smoothing": 0.3, "reduction": "none"}
    yield Case("smoothing none", arrays(4, 2, 3), chosen)
    yield Case("one row", arrays(6, weight=True), {"label_smoothing": 0.2})
    yield Case("one class", arrays(1, 3))
    yield Case("no rows", arrays(5, 0, weight=True))
    yield Case("no rows none", arrays(5, 0), {"reduction": "none"})
    found = arrays(6, 4, weight=True)
    for row, column in ((0, 1), (1, 0), (1, 3), (3, 4)):
        found["logits"][row, column] = -np.inf
        found["target"][row, column] = 0.0
    yield Case("masked classes", found)
    found = arrays(5, 3)
    yield Case("large logits", {**found, "logits": 1e4 * found["logits"]}, {"reduction": "none"})


def check(dims: Dims, options: Options) -> None:
    check_reduction("soft_cross_entropy", options)
    require(dims["V"] > 0, "soft_cross_entropy: logits has 0 classes, expected at least 1")
    s = options["label_smoothing"]
    require(0 <= s <= 1, f"soft_cross_entropy: label_smoothing is {s}, expected 0 to 1")


_SHAPES: dict[str, Any] = {"logits": (3, 5), "target": (3, 5), "weight": None}

SPEC = Op(
    name="soft_cross_entropy",
    path="losses/soft_cross_entropy",
    doc=__doc__,
    args=(
        Arg("logits", "*N V"),
        Arg("target", "*N V", domain=(0.0, 1.0)),
        Arg("weight", "V", optional=True),
    ),
    out=out,
    residuals={"lse": "*N"},
    saves=("logits", "target", "weight"),
    options={"reduction": "mean", "label_smoothing": 0.0},
    check=check,
    rejects=(
        Reject("target has shape (2, 5), but dim N is (3,)", {**_SHAPES, "target": (2, 5)}),
        Reject("target has shape (3, 4), but dim V is 5", {**_SHAPES, "target": (3, 4)}),
        Reject("weight has shape (4,), but dim V is 5", {**_SHAPES, "weight": (4,)}),
        Reject("logits has 0 classes", {**_SHAPES, "logits": (3, 0), "target": (3, 0)}),
        Reject("label_smoothing is 1.5, expected 0 to 1", _SHAPES, {"label_smoothing": 1.5}),
        Reject("label_smoothing is -0.1, expected 0 to 1", _SHAPES, {"label_smoothing": -0.1}),
        reject_reduction(_SHAPES),
        Reject("expected a floating dtype", _SHAPES, dtypes={"target": "int64"}),
    ),
    bench=rows.LOGITS,
    forward=forward,
    backward=backward,
    cases=cases,
)
