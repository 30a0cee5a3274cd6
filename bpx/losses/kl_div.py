r"""Kullback-Leibler divergence of a target from log-probabilities, element by element.

    p    = target | exp(target)                  with log_target
    gap  = log(p) - x
    loss = p * gap
    y    = mean(loss) | sum(loss) / rows | sum(loss) | loss

"batchmean" divides by the size of the first axis, "mean" by the number of elements: over (rows,
classes) only the former is the divergence (torch says so too). Either mean over nothing is 0
(torch: NaN). Nothing asks x or target to sum to 1. A term with p = 0 is 0 (0 log 0 = 0) whatever
its x, and so are its derivatives: x = -inf is allowed there (torch: NaN), and the slope in target,
which falls to -inf towards p = 0, is 0 at it. p > 0 where x = -inf has loss inf. A negative target
gives NaN.
Source: Kullback, Leibler 1951, "On Information and Sufficiency", doi:10.1214/aoms/1177729694, eq.
2.2; arguments and reductions as in torch.nn.KLDivLoss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import REDUCTIONS, out, reduce, reduce_adjoint
from bpx.spec import Arg, Case, Op, Options, Reject, one_of, require

ALLOWED = (*REDUCTIONS, "batchmean")


def _lines(x: Any, target: Any, log_target: bool) -> Any:
    p = np.exp(target) if log_target else target
    absent = p.real == 0
    held = np.where(absent, 1, p)
    logp = np.where(absent, 0, target) if log_target else np.log(held)
    gap = np.where(absent, 0, logp - x)
    return p, absent, held, gap


def forward(x: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
    p, _, _, gap = _lines(x, target, log_target)
    loss = p * gap
    if reduction == "batchmean":
        return loss.sum() / max(len(loss), 1), ()
    return reduce(loss, reduction), ()


def backward(dy: Any, x: Any, target: Any, *, reduction: str, log_target: bool) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    p, absent, held, gap = _lines(x, target, log_target)
    if reduction == "batchmean":
        dloss = np.broadcast_to(dy / max(len(x), 1), x.shape)  # y = sum(loss) / rows
    else:
        dloss = reduce_adjoint(dy, x, reduction)  # y = reduce(loss)
    dp = dloss * gap  # loss = p * gap
    dgap = dloss * p
    dlogp = np.where(absent, 0, dgap)  # gap = where(absent, 0, logp - x)
    dx = np.where(absent, 0, -dgap)
    if log_target:
        dtarget = np.where(absent, 0, dlogp)  # logp = where(absent, 0, target)
        dtarget = dtarget + dp * np.exp(target)  # p = exp(target)
    else:
        dtarget = dlogp / held  # logp = log(held)
        dtarget = dtarget + dp  # p = target
    return dx, dtarget


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*shape: int, log: bool = False) -> dict[str, Any]:
        target = draw(*shape) - 1 if log else draw.uniform(*shape)
        return {"x": draw(*shape) - 1, "target": target}

    yield Case("mean", arrays(3, 5))
    yield Case("batchmean", arrays(4, 2, 3), {"reduction": "batchmean"})
    yield Case("sum log", arrays(2, 5, log=True), {"reduction": "sum", "log_target": True})
    yield Case("none", arrays(7), {"reduction": "none"})
    yield Case("empty mean", arrays(0, 3))
    yield Case("one", arrays(1, 1), {"reduction": "batchmean"})
    yield Case("empty batchmean", arrays(0, 3), {"reduction": "batchmean"})
    found = arrays(3, 4)
    found["target"][[0, 1, 2], [1, 3, 0]] = 0.0
    found["x"][1, 3] = -np.inf
    yield Case("absent", found, {"reduction": "none"})
    found = arrays(3, 4, log=True)
    found["target"][[0, 1, 2], [1, 3, 0]] = -np.inf
    found["x"][1, 3] = -np.inf
    yield Case("absent log", found, {"reduction": "batchmean", "log_target": True})


def check(dims: Dims, options: Options) -> None:
    one_of("kl_div", "reduction", options["reduction"], ALLOWED)
    one_of("kl_div", "log_target", options["log_target"], (False, True))
    require(
        options["reduction"] != "batchmean" or dims["N"] != (),
        "kl_div: reduction is 'batchmean' with x of shape (), expected at least one axis",
    )


_SHAPES = {"x": (3, 5), "target": (3, 5)}
_SCALARS: dict[str, Any] = {"x": (), "target": ()}

SPEC = Op(
    name="kl_div",
    path="losses/kl_div",
    doc=__doc__,
    args=(Arg("x", "*N", domain=(-math.inf, 0.0)), Arg("target", "*N", domain=(0.0, 1.0))),
    out=out,
    saves=("x", "target"),
    options={"reduction": "mean", "log_target": False},
    check=check,
    kinks="0 for the slope in target where target = 0 (it falls to -inf)",
    rejects=(
        Reject("target has shape (5,), but dim N is (3, 5)", {**_SHAPES, "target": (5,)}),
        Reject("reduction is 'average', expected one of", _SHAPES, {"reduction": "average"}),
        Reject("log_target is None, expected one of", _SHAPES, {"log_target": None}),
        Reject("with x of shape (), expected", _SCALARS, {"reduction": "batchmean"}),
        Reject("expected a floating dtype", _SHAPES, dtypes={"target": "int64"}),
    ),
    bench=rows.ELEMENTS,
    forward=forward,
    backward=backward,
    cases=cases,
)
