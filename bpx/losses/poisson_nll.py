r"""Negative log-likelihood of counts under a Poisson distribution, element by element.

    loss = exp(x) - target * x                    with log_input: x is the logarithm of the rate
    loss = x - target * log(x + eps)              without: x is the rate
    loss = loss + target * log(target) - target + 0.5 * log(2 pi target)   with full, target > 1
    y    = mean(loss) | sum(loss) | loss

Without `full` the term log(target!) is left out, with it it is Stirling's approximation, and 0 up
to target = 1, with derivative 0 (torch: the slope in target is NaN at 0). The mean over nothing is
0 (torch: NaN). target has a gradient. A rate below -eps gives NaN.
Source: Nelder, Wedderburn 1972, "Generalized Linear Models", doi:10.2307/2344614; options as in
torch.nn.PoissonNLLLoss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.losses._terms import terms
from bpx.spec import Arg, Case, Options, Reject, number, one_of, require

KINKS = "0 for the slope in target at target = 1 with full, where the loss jumps (as torch)"


def f(x: Any, target: Any, *, log_input: bool, full: bool, eps: float) -> Any:
    loss = np.exp(x) - target * x if log_input else x - target * np.log(x + eps)
    if full:
        many = target.real > 1
        n = np.where(many, target, 1)
        stirling = n * np.log(n) - n + 0.5 * np.log(2 * np.pi * n)
        loss = loss + np.where(many, stirling, 0)
    return loss


def adjoint(dloss: Any, x: Any, target: Any, *, log_input: bool, full: bool, eps: float) -> Any:
    dtarget = np.zeros_like(target)
    if full:
        many = target > 1
        n = np.where(many, target, 1)
        dstirling = np.where(many, dloss, 0)  # loss = loss + where(many, stirling, 0)
        dn = 0.5 * dstirling / (2 * np.pi * n) * 2 * np.pi  # stirling = n log(n) - n + 0.5 log(...)
        dn = dn - dstirling
        dn = dn + dstirling * n / n + dstirling * np.log(n)
        dtarget = dtarget + np.where(many, dn, 0)  # n = where(many, target, 1)
    if log_input:
        dx = dloss * np.exp(x) - dloss * target  # loss = exp(x) - target * x
        dtarget = dtarget - dloss * x
    else:
        dx = dloss - dloss * target / (x + eps)  # loss = x - target * log(x + eps)
        dtarget = dtarget - dloss * np.log(x + eps)
    return dx, dtarget


def draws(draw: Any, *shape: int) -> dict[str, Any]:
    return {"x": 0.1 + abs(draw(*shape)), "target": 4 * draw.uniform(*shape)}


def edges(draw: Any) -> Iterator[Case]:
    found = draws(draw, 5)
    found["target"][[1, 3]] = 0.0, 1.0
    yield Case("few", found, {"full": True, "reduction": "none"}, kink=KINKS)


def check(options: Options) -> None:
    for name in ("log_input", "full"):
        one_of("poisson_nll", name, options[name], (False, True))
    number("poisson_nll", "eps", options["eps"])
    require(options["eps"] >= 0, f"poisson_nll: eps is {options['eps']}, expected at least 0")


_SHAPES = {"x": (3, 5), "target": (3, 5)}

SPEC = terms(
    "poisson_nll",
    __doc__,
    (Arg("x", "*N"), Arg("target", "*N", domain=(0.0, 8.0))),
    f,
    adjoint,
    draws,
    options={"log_input": True, "full": False, "eps": 1e-8},
    loud=({"log_input": False, "eps": 0.25}, {"full": True}),
    edges=edges,
    kinks=KINKS,
    check=check,
    rejects=(
        Reject("log_input is None, expected one of", _SHAPES, {"log_input": None}),
        Reject("full is 'no', expected one of", _SHAPES, {"full": "no"}),
        Reject("eps is -1.0, expected at least 0", _SHAPES, {"eps": -1.0}),
        Reject("eps is None, expected a number", _SHAPES, {"eps": None}),
    ),
)
