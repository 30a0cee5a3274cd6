r"""Cosine of the angle between two vectors, over the last axis.

    r1 = sqrt(sum_D(x1^2)),  r2 = sqrt(sum_D(x2^2))
    n1 = max(r1, eps),       n2 = max(r2, eps)
    y  = sum_D((x1 / n1) * (x2 / n2))

A row of zeros has y = 0 and the gradient of the other's direction over eps (NaN for eps = 0). Below
eps the length is a constant to the derivative (torch: its derivative is taken all the same).
Source: Salton, McGill 1983, "Introduction to Modern Information Retrieval"; eps as in
torch.nn.functional.cosine_similarity and optax.losses.cosine_similarity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, number, require

KINKS = "0 for the slope of max(r, eps) at r = eps"


def _lines(x: Any, eps: float) -> Any:
    r = np.sqrt((x * x).sum(-1, keepdims=True))
    return r, np.where(r.real > eps, r, eps)


def forward(x1: Any, x2: Any, *, eps: float) -> Any:
    (_, n1), (_, n2) = _lines(x1, eps), _lines(x2, eps)
    return ((x1 / n1) * (x2 / n2)).sum(-1), ()


def backward(dy: Any, x1: Any, x2: Any, *, eps: float) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    (r1, n1), (r2, n2) = _lines(x1, eps), _lines(x2, eps)
    dterms = dy[..., None]  # y = sum_D(u1 * u2), u = x / n
    du1, du2 = dterms * (x2 / n2), dterms * (x1 / n1)
    dx1, dn1 = du1 / n1, (-du1 * x1 / n1**2).sum(-1, keepdims=True)
    dx2, dn2 = du2 / n2, (-du2 * x2 / n2**2).sum(-1, keepdims=True)
    dr1, dr2 = np.where(r1 > eps, dn1, 0), np.where(r2 > eps, dn2, 0)  # n = max(r, eps)
    dx1 = dx1 + dr1 * x1 / np.where(r1 > eps, r1, 1)  # r = sqrt(sum_D(x^2))
    dx2 = dx2 + dr2 * x2 / np.where(r2 > eps, r2, 1)
    return dx1, dx2


def cases(draw: Any) -> Iterator[Case]:
    yield Case("3d", {"x1": draw(2, 3, 5), "x2": draw(2, 3, 5)})
    yield Case("one row", {"x1": draw(6), "x2": draw(6)})
    yield Case("below eps", {"x1": draw(3, 4), "x2": 0.1 * draw(3, 4)}, {"eps": 1.5})
    yield Case("no rows", {"x1": draw(0, 5), "x2": draw(0, 5)})
    yield Case("one of one", {"x1": draw(1, 2), "x2": draw(1, 2)})
    zero = draw(2, 3)
    zero[0] = 0
    yield Case("zero row", {"x1": zero, "x2": draw(2, 3)}, {"eps": 0.5})


def check(dims: Dims, o: Options) -> None:
    number("cosine_similarity", "eps", o["eps"])
    require(o["eps"] >= 0, f"cosine_similarity: eps is {o['eps']}, expected at least 0")


SPEC = Op(
    name="cosine_similarity",
    path="layers/cosine_similarity",
    doc=__doc__,
    args=(Arg("x1", "*N D"), Arg("x2", "*N D")),
    out="*N",
    saves=("x1", "x2"),
    options={"eps": 1e-8},
    check=check,
    kinks=KINKS,
    rejects=(
        Reject("x2 has shape (2, 4), but dim D is 3", {"x1": (2, 3), "x2": (2, 4)}),
        Reject("x1 is None, expected (*N D)", {"x1": None, "x2": (2, 4)}),
        Reject("eps is -1, expected at least 0", {"x1": (2, 3), "x2": (2, 3)}, {"eps": -1}),
        Reject("eps is None, expected a number", {"x1": (2, 3), "x2": (2, 3)}, {"eps": None}),
    ),
    bench={
        "small": {"N": 64, "D": 64},
        "typical": {"N": 1024, "D": 256},
        "large": {"N": 4096, "D": 1024},
        "odd": {"N": 101, "D": 67},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
