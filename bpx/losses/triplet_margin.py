r"""Triplet loss: an anchor comes closer to its positive than to its negative, by a margin.

    dist(a, b) = sqrt(sum_D((a - b + eps)^2))
    dp   = dist(anchor, positive)
    dn   = dist(anchor, negative)
    dn   = min(dn, dist(positive, negative))      with swap
    loss = max(dp - dn + margin, 0)
    y    = sum(loss) / rows | sum(loss) | loss

Keeps the differences anchor - positive + eps (pulled), anchor - negative + eps (pushed) and, with
swap, positive - negative + eps (swapped, S = 1). The mean over no rows is 0 (torch: NaN).
Source: Balntas, Riba, Ponsa, Mikolajczyk 2016, "Learning local feature descriptors with triplets
and shallow convolutional neural networks", doi:10.5244/C.30.119 (swap is section 3.2); as
torch.nn.TripletMarginLoss with p = 2, eps within the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, out, reduce, reduce_adjoint, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, number, one_of, require

KINKS = (
    "1 for the slope of max(z, 0) at z = 0 (as torch to 2.13; from 2.14 on 0); 0 for that of a "
    "distance at 0; half to each of two equal distances with swap (as torch)"
)


def _distance(a: Any, b: Any, eps: float) -> Any:
    u = a - b + eps
    return u, np.sqrt((u * u).sum(-1))


def _distance_adjoint(dd: Any, u: Any, d: Any) -> Any:
    dsum = np.where(d == 0, 0, dd / (2 * np.where(d == 0, 1, d)))  # d = sqrt(sum)
    return dsum[..., None] * (u + u)  # sum = sum_D(u * u)


def _lines(anchor: Any, positive: Any, negative: Any, margin: float, swap: bool, eps: float) -> Any:
    pairs = [(anchor, positive), (anchor, negative), (positive, negative)]
    u, d = zip(*(_distance(a, b, eps) for a, b in pairs), strict=True)
    dn = np.where(d[2].real < d[1].real, d[2], d[1]) if swap else d[1]
    return u, d, d[0] - dn + margin


def forward(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float,
    swap: bool,
    eps: float,
    reduction: str,
) -> Any:
    u, _, z = _lines(anchor, positive, negative, margin, swap, eps)
    kept = (u[0], u[1], np.stack(u)[2 : 2 + swap])
    return reduce(np.where(z.real < 0, 0, z), reduction), kept


def backward(
    dy: Any,
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float,
    swap: bool,
    eps: float,
    reduction: str,
) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    u, d, z = _lines(anchor, positive, negative, margin, swap, eps)
    dloss = reduce_adjoint(dy, z, reduction)  # y = reduce(loss)
    dz = np.where(z >= 0, dloss, 0)  # loss = max(z, 0)
    dd = [dz, -dz, np.zeros_like(dz)]  # z = d[0] - dn + margin
    if swap:
        share = np.where(d[1] == d[2], 0.5, d[1] < d[2])  # dn = min(d[1], d[2])
        dd = [dz, -dz * share, -dz * (1 - share)]
    du = [_distance_adjoint(*found) for found in zip(dd, u, d, strict=True)]
    danchor = du[0] + du[1]  # u[0] = anchor - positive + eps, u[1] = anchor - negative + eps
    dpositive = du[2] - du[0]  # u[2] = positive - negative + eps
    return danchor, dpositive, -du[1] - du[2]


def cases(draw: Any) -> Iterator[Case]:
    def arrays(d: int, *rows: int) -> dict[str, Any]:
        return {name: draw(*rows, d) for name in ("anchor", "positive", "negative")}

    yield Case("mean", arrays(5, 2, 3), {"margin": 1.5})
    yield Case("sum swap", arrays(4, 6), {"swap": True, "reduction": "sum"})
    yield Case("none", arrays(3, 4), {"eps": 0.25, "reduction": "none", "swap": True})
    yield Case("one row", arrays(6), {"margin": 3.0})
    yield Case("no rows", arrays(5, 0))
    yield Case("one place", arrays(1, 3), {"margin": 2.5, "swap": True})
    found = {
        "anchor": np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]),
        "positive": np.array([[3.0, 4.0], [3.0, 4.0], [-3.0, 4.0]]),
        "negative": np.array([[0.0, 6.0], [0.0, 0.0], [0.0, 8.0]]),
    }
    exact = {"eps": 0.0, "reduction": "none"}
    yield Case("kinks", found, exact, kink=KINKS)
    yield Case("kinks swap", found, {**exact, "swap": True, "margin": 6.0}, kink=KINKS)


def check(dims: Dims, options: Options) -> None:
    check_reduction("triplet_margin", options)
    one_of("triplet_margin", "swap", options["swap"], (False, True))
    dims["S"] = int(options["swap"])
    for name in ("margin", "eps"):
        number("triplet_margin", name, options[name])
    require(
        options["margin"] > 0,
        f"triplet_margin: margin is {options['margin']}, expected more than 0",
    )


_SHAPES: dict[str, Any] = {"anchor": (3, 5), "positive": (3, 5), "negative": (3, 5)}

SPEC = Op(
    name="triplet_margin",
    path="losses/triplet_margin",
    doc=__doc__,
    args=(Arg("anchor", "*N D"), Arg("positive", "*N D"), Arg("negative", "*N D")),
    out=out,
    residuals={"pulled": "*N D", "pushed": "*N D", "swapped": "S *N D"},
    differentiable=("pulled", "pushed", "swapped"),
    options={"margin": 1.0, "swap": False, "eps": 1e-6, "reduction": "mean"},
    check=check,
    kinks=KINKS,
    rejects=(
        Reject("positive has shape (3, 4), but dim D is 5", {**_SHAPES, "positive": (3, 4)}),
        Reject("negative has shape (2, 5), but dim N is (3,)", {**_SHAPES, "negative": (2, 5)}),
        Reject("margin is 0.0, expected more than 0", _SHAPES, {"margin": 0.0}),
        Reject("margin is None, expected a number", _SHAPES, {"margin": None}),
        Reject("eps is None, expected a number", _SHAPES, {"eps": None}),
        Reject("swap is None, expected one of", _SHAPES, {"swap": None}),
        reject_reduction(_SHAPES),
        Reject("expected a floating dtype", _SHAPES, dtypes={"anchor": "int64"}),
    ),
    bench=rows.PAIRS,
    forward=forward,
    backward=backward,
    cases=cases,
)
