"""BFGS: a quasi-Newton method with a dense approximation of the inverse Hessian.

    p = -H g;  x <- x + alpha p             alpha: strong Wolfe, first trial lr
    s = alpha p,  y = the change of g,  rho = 1 / (y^T s)
    H <- (y^T s / y^T y) I                                      before the first update
    H <- (I - rho s y^T) H (I - rho y s^T) + rho s s^T

H starts as I, and the first trial step is lr min(1, 1 / |g|_1). A pair with
y^T s <= eps |y| |s| is left out: there is no curvature in it. n^2 numbers for n parameters.

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, algorithm 6.1, equations 6.17
and 6.20.
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


def bfgs(
    value_and_grad: Callable[[Array], tuple[Any, Array]],
    x0: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 1000,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
) -> Result:
    """Minimise a function of a vector.

    Args:
        value_and_grad: x (n) -> (a number, its gradient (n)).
        x0: where to start, (n), floating.
        lr: the first step that each line search tries.
        max_iter, max_eval: see `Result.outcome`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `Result.outcome`.

    Raises:
        SpecError: an option outside its limits, an x0 that is no floating vector, a gradient of
            another shape.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
    }
    check("bfgs", options)
    inverse: Array | None = None  # H; the identity until the first pair

    def direction(x: Array, g: Array) -> Array:
        return -g if inverse is None else -inverse @ g

    def learn(s: Array, y: Array) -> None:
        nonlocal inverse
        ys = y @ s
        if ys <= epsilon(s) * np.linalg.norm(y) * np.linalg.norm(s):
            return
        identity = np.eye(len(s), dtype=s.dtype)
        if inverse is None:
            inverse = ys / (y @ y) * identity
        rho = 1 / ys
        left = identity - rho * np.outer(s, y)
        inverse = left @ inverse @ left.T + rho * np.outer(s, s)

    return descend("bfgs", value_and_grad, x0, direction, learn, options, cautious=True)
