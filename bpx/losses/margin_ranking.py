r"""Hinge loss of a ranking: where target is 1, x1 should exceed x2 by margin; where -1, x2 x1.

    z    = margin - target * (x1 - x2)
    loss = max(z, 0)
    y    = mean(loss) | sum(loss) | loss

Any target is allowed, and has a gradient. The mean over nothing is 0 (torch: NaN).
Source: Herbrich, Graepel, Obermayer 1999, "Support vector learning for ordinal regression",
doi:10.1049/cp:19991091; as torch.nn.MarginRankingLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case, Options, Reject, number

KINKS = "1 for the slope of max(z, 0) at z = 0 (as torch to 2.13; from 2.14 on 0)"


def f(x1: Any, x2: Any, target: Any, *, margin: float) -> Any:
    z = margin - target * (x1 - x2)
    return np.where(z.real < 0, 0, z)


def adjoint(dloss: Any, x1: Any, x2: Any, target: Any, *, margin: float) -> Any:
    z = margin - target * (x1 - x2)
    dz = np.where(z >= 0, dloss, 0)  # loss = max(z, 0)
    dtarget = -dz * (x1 - x2)  # z = margin - target * (x1 - x2)
    de = -dz * target
    return de, -de, dtarget


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    target = np.where(draw(*shape) > 0, 1.0, -1.0)
    return {"x1": draw(*shape), "x2": draw(*shape), "target": target}


def edges(draw: Any) -> Iterator[Case]:
    found = {
        "x1": np.array([1.5, 0.25, 2.0]),
        "x2": np.array([1.0, 0.75, -1.0]),
        "target": np.array([1.0, -1.0, 1.0]),
    }
    yield Case("kinks", found, {"margin": 0.5, "reduction": "none"}, kink=KINKS)


def check(options: Options) -> None:
    number("margin_ranking", "margin", options["margin"])


_SHAPES = {"x1": (3, 5), "x2": (3, 5), "target": (3, 5)}

SPEC = terms(
    "margin_ranking",
    __doc__,
    (Arg("x1", "*N"), Arg("x2", "*N"), Arg("target", "*N", domain=(-1.0, 1.0))),
    f,
    adjoint,
    draws,
    options={"margin": 0.0},
    loud=({"margin": 0.7},),
    edges=edges,
    kinks=KINKS,
    check=check,
    rejects=(
        Reject("target has shape (3,), but dim N is (3, 5)", {**_SHAPES, "target": (3,)}),
        Reject("margin is None, expected a number", _SHAPES, {"margin": None}),
    ),
)
