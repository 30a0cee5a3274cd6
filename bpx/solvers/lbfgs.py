"""L-BFGS: BFGS whose inverse Hessian is the last `history_size` pairs (s, y) and a number.

    q = g
    for the pairs, the newest first:     a_i = rho_i s_i^T q;   q <- q - a_i y_i
    r = gamma q,   gamma = y^T s / y^T y of the newest pair, 1 without one
    for the pairs, the oldest first:     b = rho_i y_i^T r;     r <- r + (a_i - b) s_i
    p = -r;  x <- x + alpha p            alpha: strong Wolfe, first trial lr; or lr itself

The first trial step is lr min(1, 1 / |g|_1). A pair with y^T s <= eps |y| |s| is left out, the
oldest goes when the memory is full. torch.optim.LBFGS leaves out pairs with y^T s <= 1e-10 whatever
the size of the problem, and so stops learning close to a minimum.

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, algorithms 7.4 and 7.5,
equation 7.20.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.solvers._descent import descend
from bpx.solvers._result import Result, check
from bpx.solvers._wolfe import epsilon

Array = NDArray[Any]


def lbfgs(
    value_and_grad: Callable[[Array], tuple[Any, Array]],
    x0: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 1000,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 10,
    line_search_fn: str | None = "strong_wolfe",
) -> Result:
    """Minimise a function of a vector. Arguments and errors: as `bfgs`, and

    Args:
        history_size: how many pairs are kept.
        line_search_fn: "strong_wolfe", or None for steps of lr that are not searched.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "history_size": history_size,
        "line_search_fn": line_search_fn,
    }
    check("lbfgs", options)
    pairs: list[tuple[Array, Array, Any]] = []  # s, y, rho; the oldest first

    def direction(x: Array, g: Array) -> Array:
        q = g
        weights = []
        for s, y, rho in reversed(pairs):
            a = rho * (s @ q)
            q = q - a * y
            weights.append(a)
        r = q
        if pairs:
            s, y, _ = pairs[-1]
            r = (y @ s) / (y @ y) * q
        for (s, y, rho), a in zip(pairs, reversed(weights), strict=True):
            b = rho * (y @ r)
            r = r + (a - b) * s
        return -r

    def learn(s: Array, y: Array) -> None:
        ys = y @ s
        if ys > epsilon(s) * np.linalg.norm(y) * np.linalg.norm(s):
            pairs.append((s, y, 1 / ys))
            del pairs[:-history_size]

    return descend("lbfgs", value_and_grad, x0, direction, learn, options, cautious=True)
