r"""Negative log-likelihood under a normal distribution of mean x, element by element.

    v    = max(var, eps)
    e    = x - target
    loss = 0.5 * (log(v) + e^2 / v)
    loss = loss + 0.5 * log(2 pi)                 with full
    y    = mean(loss) | sum(loss) | loss

Where var < eps the gradient of var is that of v, passed straight through the maximum, so that a
variance that fell below eps can rise again (as torch). A negative var counts as eps here (torch's
function refuses it). The mean over nothing is 0 (torch: NaN).
Source: Nix, Weigend 1994, "Estimating the mean and variance of the target probability
distribution", doi:10.1109/ICNN.1994.374138; options as in torch.nn.GaussianNLLLoss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case, Options, Reject, number, one_of, require

KINKS = "dvar = dv below eps, where var has no influence (as torch)"


def f(x: Any, target: Any, var: Any, *, full: bool, eps: float) -> Any:
    v = np.where(var.real < eps, eps, var)
    e = x - target
    loss = 0.5 * (np.log(v) + e * e / v)
    return loss + 0.5 * np.log(2 * np.pi) if full else loss


def adjoint(dloss: Any, x: Any, target: Any, var: Any, *, full: bool, eps: float) -> Any:
    v = np.where(var < eps, eps, var)
    e = x - target
    dv = 0.5 * dloss / v - 0.5 * dloss * e * e / v**2  # loss = 0.5 * (log(v) + e * e / v)
    de = 0.5 * dloss * (e + e) / v
    dvar = dv  # v = max(var, eps), straight through
    return de, -de, dvar  # e = x - target


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    return {"x": draw(*shape), "target": draw(*shape), "var": 0.25 + draw.uniform(*shape)}


def edges(draw: Any) -> Iterator[Case]:
    found = draws(draw, 5)
    found["var"][[1, 3]] = 0.0, 0.125
    yield Case("small var", found, {"eps": 0.2, "reduction": "none"}, kink=KINKS)


def check(options: Options) -> None:
    one_of("gaussian_nll", "full", options["full"], (False, True))
    number("gaussian_nll", "eps", options["eps"])
    require(options["eps"] > 0, f"gaussian_nll: eps is {options['eps']}, expected more than 0")


_SHAPES = {"x": (3, 5), "target": (3, 5), "var": (3, 5)}

SPEC = terms(
    "gaussian_nll",
    __doc__,
    (Arg("x", "*N"), Arg("target", "*N"), Arg("var", "*N", domain=(0.0, math.inf))),
    f,
    adjoint,
    draws,
    options={"full": False, "eps": 1e-6},
    loud=({"full": True},),
    edges=edges,
    kinks=KINKS,
    check=check,
    rejects=(
        Reject("var has shape (3, 1), but dim N is (3, 5)", {**_SHAPES, "var": (3, 1)}),
        Reject("full is 'no', expected one of", _SHAPES, {"full": "no"}),
        Reject("eps is 0.0, expected more than 0", _SHAPES, {"eps": 0.0}),
        Reject("eps is None, expected a number", _SHAPES, {"eps": None}),
    ),
)
