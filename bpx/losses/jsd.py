r"""Jensen-Shannon divergence of two log-probabilities over the last axis.

    p    = exp(x),  q = exp(target)
    logm = log((p + q) / 2)                       shifted by max(x, target)
    loss = 1/2 sum_V(p * (x - logm)) + 1/2 sum_V(q * (target - logm))
    y    = sum(loss) / rows | sum(loss) | loss

Between probabilities it lies in 0 to log 2; nothing asks a row to be one. A class with p = 0 (or q
= 0) adds nothing to its sum (0 log 0 = 0), and its derivative in x (in target) is 0. The mean over
no rows is 0. Both arguments have a gradient.
Source: Lin 1991, "Divergence Measures Based on the Shannon Entropy", doi:10.1109/18.61115, eq. 4.1
with weights 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reduce, reduce_adjoint, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject


def _lines(x: Any, target: Any) -> Any:
    p, q = np.exp(x), np.exp(target)
    top = np.maximum(x.real, target.real)
    top = np.where(np.isneginf(top), 0, top)
    mass = np.exp(x - top) + np.exp(target - top)
    mass = np.where(mass.real == 0, 1, mass)  # neither has this class
    logm = top + np.log(mass) - np.log(2)
    gap_p = np.where(p.real == 0, 0, x - logm)
    gap_q = np.where(q.real == 0, 0, target - logm)
    return p, q, top, mass, gap_p, gap_q


def forward(x: Any, target: Any, *, reduction: str) -> Any:
    p, q, _, _, gap_p, gap_q = _lines(x, target)
    loss = (p * gap_p).sum(-1) / 2 + (q * gap_q).sum(-1) / 2
    return reduce(loss, reduction), ()


def backward(dy: Any, x: Any, target: Any, *, reduction: str) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    p, q, top, mass, gap_p, gap_q = _lines(x, target)
    dloss = reduce_adjoint(dy, p.sum(-1), reduction)[..., None]  # y = reduce(loss)
    dp, dgap_p = dloss / 2 * gap_p, dloss / 2 * p  # loss = sum_V(p * gap_p) / 2 + ...
    dq, dgap_q = dloss / 2 * gap_q, dloss / 2 * q  # ... + sum_V(q * gap_q) / 2
    dgap_p = np.where(p == 0, 0, dgap_p)  # gap_p = where(p == 0, 0, x - logm)
    dgap_q = np.where(q == 0, 0, dgap_q)  # gap_q = where(q == 0, 0, target - logm)
    dlogm = -dgap_p - dgap_q
    dmass = dlogm / mass  # logm = top + log(mass) - log(2)
    # mass = exp(x - top) + exp(target - top); top is a shift: its paths here and in logm cancel
    dx = dgap_p + dmass * np.exp(x - top) + dp * np.exp(x)  # p = exp(x)
    dtarget = dgap_q + dmass * np.exp(target - top) + dq * np.exp(target)  # q = exp(target)
    return dx, dtarget


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*shape: int) -> dict[str, Any]:
        return {"x": draw(*shape) - 1, "target": draw(*shape) - 1}

    yield Case("mean", arrays(2, 3, 5))
    yield Case("sum", arrays(4, 3), {"reduction": "sum"})
    yield Case("none", arrays(2, 7), {"reduction": "none"})
    yield Case("no rows", arrays(0, 4))
    yield Case("one row", arrays(1, 3))
    found = arrays(3, 5)
    found["x"][[0, 1, 2], [1, 3, 0]] = -np.inf
    found["target"][[0, 1, 2], [2, 3, 4]] = -np.inf
    yield Case("absent", found, {"reduction": "none"})
    found = arrays(3, 4)
    yield Case("far apart", {**found, "x": 8 * found["x"] - 9}, {"reduction": "none"})


def check(dims: Dims, options: Options) -> None:
    check_reduction("jsd", options)


_SHAPES = {"x": (3, 5), "target": (3, 5)}

SPEC = Op(
    name="jsd",
    path="losses/jsd",
    doc=__doc__,
    args=(
        Arg("x", "*N V", domain=(-math.inf, 0.0)),
        Arg("target", "*N V", domain=(-math.inf, 0.0)),
    ),
    out=out,
    saves=("x", "target"),
    options={"reduction": "mean"},
    check=check,
    rejects=(
        Reject("target has shape (3, 4), but dim V is 5", {**_SHAPES, "target": (3, 4)}),
        Reject("x has shape (), expected (*N V)", {"x": (), "target": ()}),
        reject_reduction(_SHAPES),
        Reject("expected a floating dtype", _SHAPES, dtypes={"target": "int64"}),
    ),
    bench=rows.LOGITS,
    forward=forward,
    backward=backward,
    cases=cases,
)
