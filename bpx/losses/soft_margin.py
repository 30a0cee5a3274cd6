r"""Logistic loss of scores x with target 1 or -1, element by element.

    z    = -target * x
    loss = log(1 + exp(z))                        shifted by max(z, 0)
    y    = mean(loss) | sum(loss) | loss

Any target is allowed, and has a gradient (torch: none). The loss of a large z is z (torch: inf
once exp(z) overflows). The mean over nothing is 0 (torch: NaN).
Source: Friedman, Hastie, Tibshirani 2000, "Additive logistic regression: a statistical view of
boosting", doi:10.1214/aos/1016218223; as torch.nn.SoftMarginLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case


def _top(z: Any) -> Any:
    """What exp(z) is shifted by: none for an infinite z."""
    return np.where(np.isinf(z), 0, np.maximum(z, 0))


def f(x: Any, target: Any) -> Any:
    z = -target * x
    top = _top(z.real)
    return top + np.log(np.exp(-top) + np.exp(z - top))


def adjoint(dloss: Any, x: Any, target: Any) -> Any:
    z = -target * x
    top = _top(z)
    mass = np.exp(-top) + np.exp(z - top)
    dmass = dloss / mass  # loss = top + log(mass); top is a shift: its paths cancel
    dz = dmass * np.exp(z - top)  # mass = exp(-top) + exp(z - top)
    return -dz * target, -dz * x  # z = -target * x


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    target = np.where(draw(*shape) > 0, 1.0, -1.0)
    if target.size > 1:
        target.flat[0] = -target.flat[-1]  # both classes, whatever was drawn
    return {"x": 2 * draw(*shape), "target": target}


def edges(draw: Any) -> Iterator[Case]:
    yield Case("any target", {"x": draw(2, 4), "target": draw(2, 4)})
    yield Case("wide", {"x": 300 * draw(6), "target": 1.5 * draw(6)}, {"reduction": "none"})


SPEC = terms(
    "soft_margin",
    __doc__,
    (Arg("x", "*N"), Arg("target", "*N", domain=(-1.0, 1.0))),
    f,
    adjoint,
    draws,
    edges=edges,
)
