r"""Binary cross-entropy of logits, element by element, then the mean, the sum or nothing.

    miss  = softplus(-logits)                            -log sigmoid(logits)
    alarm = softplus(logits)                             -log(1 - sigmoid(logits))
    bare  = pos_weight * target * miss + (1 - target) * alarm
    loss  = weight * bare
    y     = mean(loss) | sum(loss) | loss
    softplus(z) = max(z, 0) + log(1 + exp(-|z|))         no overflow, no cancellation

weight and pos_weight broadcast to logits, and the mean divides by the number of elements, as in
torch; both have a gradient here (torch: none). The mean over no elements is 0 (torch: NaN).
Source: Good 1952, "Rational Decisions", doi:10.1111/j.2517-6161.1952.tb00104.x (the logarithmic
score); pos_weight as in torch.nn.BCEWithLogitsLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import (
    broadcast_problem,
    check_reduction,
    out,
    reduce,
    reduce_adjoint,
    reject_reduction,
    sum_to,
)
from bpx.spec import Arg, Case, Op, Options, Reject, SpecError


def _softplus(z: Any) -> Any:
    positive = z.real > 0
    return np.where(positive, z, 0) + np.log1p(np.exp(np.where(positive, -z, z)))


def _softplus_slope(z: Any) -> Any:
    """Line by line: the slope of max(z, 0), and that of log1p(exp(-|z|)) through its -|z|."""
    positive = z > 0
    small = np.exp(np.where(positive, -z, z))
    return np.where(positive, 1.0, 0.0) + small / (1 + small) * np.where(positive, -1.0, 1.0)


def forward(
    logits: Any, target: Any, weight: Any = None, pos_weight: Any = None, *, reduction: str
) -> Any:
    miss = _softplus(-logits)
    alarm = _softplus(logits)
    bare = (1 if pos_weight is None else pos_weight) * target * miss + (1 - target) * alarm
    loss = bare if weight is None else weight * bare
    return reduce(loss, reduction), ()


def backward(
    dy: Any, logits: Any, target: Any, weight: Any = None, pos_weight: Any = None, *, reduction: str
) -> Any:
    miss, alarm = _softplus(-logits), _softplus(logits)
    pos = 1 if pos_weight is None else pos_weight
    bare = pos * target * miss + (1 - target) * alarm
    dloss = reduce_adjoint(dy, bare, reduction)  # y = reduce(loss)
    dweight = None if weight is None else sum_to(dloss * bare, weight.shape)  # loss = weight * bare
    dbare = dloss if weight is None else dloss * weight
    dalarm = dbare * (1 - target)  # bare = pos_weight * target * miss + (1 - target) * alarm
    dmiss = dbare * pos * target
    dtarget = dbare * pos * miss - dbare * alarm
    dpos = None if pos_weight is None else sum_to(dbare * target * miss, pos_weight.shape)
    dlogits = dalarm * _softplus_slope(logits)  # alarm = softplus(logits)
    dlogits = dlogits - dmiss * _softplus_slope(-logits)  # miss = softplus(-logits)
    return dlogits, dtarget, dweight, dpos


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*shape: int, weight: Any = None, pos_weight: Any = None) -> dict[str, Any]:
        return {
            "logits": draw(*shape),
            "target": draw.uniform(*shape),
            "weight": weight,
            "pos_weight": pos_weight,
        }

    none = {"reduction": "none"}
    yield Case("mean", arrays(3, 5))
    yield Case("sum weight", arrays(2, 3, 5, weight=draw(2, 3, 5)), {"reduction": "sum"})
    yield Case("none pos_weight", arrays(2, 7, pos_weight=1 + draw.uniform(7)), none)
    yield Case("both", arrays(2, 3, 5, weight=draw(3, 1), pos_weight=2 * draw.uniform(3, 5)))
    yield Case("scalar pos_weight", arrays(2, 3, weight=draw(2, 1), pos_weight=3 * draw.uniform()))
    yield Case("scalar", arrays())
    yield Case("empty", arrays(0, 3, weight=draw(3), pos_weight=draw.uniform(3)))
    found = arrays(4, 3, pos_weight=draw.uniform(3))
    yield Case("wide", {**found, "logits": 30 * found["logits"]}, none)
    far = np.array([1e4, -1e4, 1e4, -1e4, 0.0, -90.0, 50.0])
    labels = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.25, 0.5])
    yield Case("far", {**arrays(7), "logits": far, "target": labels}, none)


def check(dims: Dims, options: Options) -> None:
    check_reduction("binary_cross_entropy_with_logits", options)
    for name, argument in (("W", "weight"), ("P", "pos_weight")):
        if (problem := broadcast_problem(dims, name, argument)) is not None:
            raise SpecError(f"binary_cross_entropy_with_logits: {problem}")


_BARE: dict[str, Any] = {"weight": None, "pos_weight": None}

SPEC = Op(
    name="binary_cross_entropy_with_logits",
    path="losses/binary_cross_entropy_with_logits",
    doc=__doc__,
    args=(
        Arg("logits", "*N"),
        Arg("target", "*N", domain=(0.0, 1.0)),
        Arg("weight", "*W", optional=True),
        Arg("pos_weight", "*P", optional=True),
    ),
    out=out,
    saves=("logits", "target", "weight", "pos_weight"),
    options={"reduction": "mean"},
    check=check,
    rejects=(
        Reject(
            "target has shape (4,), but dim N is (5,)", {"logits": (5,), "target": (4,), **_BARE}
        ),
        Reject(
            "weight has shape (2,), expected one that broadcasts to (2, 5)",
            {"logits": (2, 5), "target": (2, 5), **_BARE, "weight": (2,)},
        ),
        Reject(
            "pos_weight has shape (4,), expected one that broadcasts to (2, 5)",
            {"logits": (2, 5), "target": (2, 5), **_BARE, "pos_weight": (4,)},
        ),
        Reject(
            "expected a floating dtype",
            {"logits": (5,), "target": (5,), **_BARE},
            dtypes={"logits": "int64"},
        ),
        reject_reduction({"logits": (2, 5), "target": (2, 5), **_BARE}),
    ),
    bench=rows.ELEMENTS,
    forward=forward,
    backward=backward,
    cases=cases,
)
