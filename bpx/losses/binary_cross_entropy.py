r"""Binary cross-entropy of probabilities x, element by element, then the mean, the sum or nothing.

    logp = max(log(x), -100)
    logq = max(log(1 - x), -100)
    bare = -(target * logp + (1 - target) * logq)
    loss = weight * bare
    y    = mean(loss) | sum(loss) | loss

The logarithms stop at -100, as in torch. The derivative in x does not stop with them, which would
leave a confident mistake without a gradient: its denominator is max(x (1 - x), 1e-12), as in torch,
so it is finite everywhere, -1e12 at (x, target) = (0, 1) and 0 at (0, 0). The derivative in target
is the true one of these lines, at most 100 (torch: infinite at x = 0 and 1), and weight has one too
(torch: none). An x outside [0, 1] gives NaN, loss and gradient (torch raises on the CPU). The mean
over no elements is 0. weight broadcasts to x; the mean divides by the number of elements, not by
the weights.
Source: Good 1952, "Rational Decisions", doi:10.1111/j.2517-6161.1952.tb00104.x (the logarithmic
score); clamps as in torch.nn.BCELoss.
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

FLOOR = 1e-12


def _log(p: Any) -> Any:
    far = p.real < np.exp(-100.0)
    return np.where(far, -100.0, np.log(np.where(far, 1.0, p)))


def forward(x: Any, target: Any, weight: Any = None, *, reduction: str) -> Any:
    logp = _log(x)
    logq = _log(1 - x)
    bare = -(target * logp + (1 - target) * logq)
    loss = bare if weight is None else weight * bare
    return reduce(loss, reduction), ()


def backward(dy: Any, x: Any, target: Any, weight: Any = None, *, reduction: str) -> Any:
    logp, logq = _log(x), _log(1 - x)
    bare = -(target * logp + (1 - target) * logq)
    dloss = reduce_adjoint(dy, bare, reduction)  # y = reduce(loss)
    dweight = None if weight is None else sum_to(dloss * bare, weight.shape)  # loss = weight * bare
    dbare = dloss if weight is None else dloss * weight
    dlogp, dlogq = -dbare * target, -dbare * (1 - target)  # bare = -(target * logp + ...)
    dtarget = -dbare * logp + dbare * logq
    # logq = log(1 - x), logp = log(x): dlogp / x - dlogq / (1 - x), over one floored denominator
    dx = (dlogp * (1 - x) - dlogq * x) / np.maximum(x * (1 - x), FLOOR)
    return dx, dtarget, dweight


def cases(draw: Any) -> Iterator[Case]:
    def arrays(*shape: int, weight: Any = None) -> dict[str, Any]:
        x = 0.1 + 0.8 * draw.uniform(*shape)  # differences lose their digits at the poles
        return {"x": x, "target": draw.uniform(*shape), "weight": weight}

    yield Case("mean", arrays(3, 5))
    yield Case("sum weight", arrays(2, 3, 5, weight=draw(2, 3, 5)), {"reduction": "sum"})
    yield Case("none row weight", arrays(2, 7, weight=draw(7)), {"reduction": "none"})
    yield Case("mean column weight", arrays(2, 3, 5, weight=draw(3, 1)))
    yield Case("scalar", arrays())
    yield Case("empty", arrays(0, 3, weight=draw(3)))
    edge = {
        "x": np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1e-45]),
        "target": np.array([0.0, 1.0, 1.0, 0.0, 0.25, 1.0]),
        "weight": None,
    }
    for reduction in ("none", "sum"):
        yield Case(f"kinks {reduction}", edge, {"reduction": reduction}, kink=KINKS)


KINKS = "x = 0 or 1: the denominator is 1e-12, the derivative (x - target) * 1e12, as in torch"


def check(dims: Dims, options: Options) -> None:
    check_reduction("binary_cross_entropy", options)
    if (problem := broadcast_problem(dims, "W", "weight")) is not None:
        raise SpecError(f"binary_cross_entropy: {problem}")


SPEC = Op(
    name="binary_cross_entropy",
    path="losses/binary_cross_entropy",
    doc=__doc__,
    args=(
        Arg("x", "*N", domain=(0.0, 1.0)),
        Arg("target", "*N", domain=(0.0, 1.0)),
        Arg("weight", "*W", optional=True),
    ),
    out=out,
    saves=("x", "target", "weight"),
    options={"reduction": "mean"},
    check=check,
    rejects=(
        Reject(
            "target has shape (5, 1), but dim N is (5,)",
            {"x": (5,), "target": (5, 1), "weight": None},
        ),
        Reject(
            "weight has shape (2,), expected one that broadcasts to (2, 5)",
            {"x": (2, 5), "target": (2, 5), "weight": (2,)},
        ),
        Reject(
            "weight has shape (3, 2, 5), expected one that broadcasts to (2, 5)",
            {"x": (2, 5), "target": (2, 5), "weight": (3, 2, 5)},
        ),
        Reject(
            "expected a floating dtype",
            {"x": (5,), "target": (5,), "weight": None},
            dtypes={"target": "int64"},
        ),
        reject_reduction({"x": (2, 5), "target": (2, 5), "weight": None}),
    ),
    bench=rows.ELEMENTS,
    kinks=KINKS,
    forward=forward,
    backward=backward,
    cases=cases,
)
