r"""Hinge loss of distances: similar pairs (target 1) come close, others (-1) get a margin.

    far  = max(margin - x, 0)
    loss = (1 + target) / 2 * x + (1 - target) / 2 * far
    y    = mean(loss) | sum(loss) | loss

At target = 1 the loss is x, at -1 it is far; between them it is linear in target, whose gradient is
(x - far) / 2 (torch: x + far for every other target, and no gradient). The mean over nothing is 0
(torch: NaN).
Source: Hadsell, Chopra, LeCun 2006, "Dimensionality Reduction by Learning an Invariant Mapping",
doi:10.1109/CVPR.2006.100; without the square as in torch.nn.HingeEmbeddingLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case, Options, Reject, number

KINKS = "-1 for the slope of max(margin - x, 0) at x = margin (as torch to 2.13; from 2.14 on 0)"


def f(x: Any, target: Any, *, margin: float) -> Any:
    far = np.where(margin - x.real >= 0, margin - x, 0)
    return (1 + target) / 2 * x + (1 - target) / 2 * far


def adjoint(dloss: Any, x: Any, target: Any, *, margin: float) -> Any:
    far = np.where(margin - x >= 0, margin - x, 0)
    dtarget = dloss * x / 2 - dloss * far / 2  # loss = (1 + target) / 2 * x + (1 - ...) / 2 * far
    dx = dloss * (1 + target) / 2
    dfar = dloss * (1 - target) / 2
    dx = dx - np.where(margin - x >= 0, dfar, 0)  # far = max(margin - x, 0)
    return dx, dtarget


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    return {"x": 0.8 + draw(*shape), "target": np.where(draw(*shape) > 0, 1.0, -1.0)}


def edges(draw: Any) -> Iterator[Case]:
    yield Case("between", {"x": 0.8 + draw(3, 4), "target": 2 * draw.uniform(3, 4) - 1})
    target = np.array([-1.0, 1.0, -1.0])
    found = {"x": np.array([1.25, 1.25, 0.5]), "target": target}
    yield Case("kinks", found, {"margin": 1.25, "reduction": "none"}, kink=KINKS)


def check(options: Options) -> None:
    number("hinge_embedding", "margin", options["margin"])


_SHAPES = {"x": (3, 5), "target": (3, 5)}

SPEC = terms(
    "hinge_embedding",
    __doc__,
    (Arg("x", "*N"), Arg("target", "*N", domain=(-1.0, 1.0))),
    f,
    adjoint,
    draws,
    options={"margin": 1.0},
    loud=({"margin": 2.5},),
    edges=edges,
    kinks=KINKS,
    check=check,
    rejects=(Reject("margin is None, expected a number", _SHAPES, {"margin": None}),),
)
