"""Newton's method, damped: the exact Hessian, made positive definite, and a line search.

    B = Hessian + damping I
    tau = 0 where every B_ii > 0, else beta - min B_ii;    beta = 1e-3 |B|_F, 1 where B is 0
    until B + tau I has a Cholesky factor L:   tau <- max(2 tau, beta)
    L L^T p = -g;  x <- x + alpha p         alpha: strong Wolfe, first trial lr

With damping 0 the last steps are pure Newton steps and converge quadratically. n^2 numbers and
n^3 / 3 multiplications for n parameters: for small problems.

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, algorithms 3.2 and 3.3, with
beta relative to the matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.solvers._descent import NotFinite, descend
from bpx.solvers._result import Result, check, check_shape

Array = NDArray[Any]
BETA = 1e-3


def factor(b: Array) -> Array:
    """The Cholesky factor of b + tau I, by algorithm 3.3."""
    if not np.isfinite(b).all():
        raise NotFinite
    identity = np.eye(len(b), dtype=b.dtype)
    beta = float(BETA * np.linalg.norm(b)) or 1.0
    least = float(np.min(np.diag(b)))
    tau = 0.0 if least > 0 else beta - least
    while True:
        try:
            return np.linalg.cholesky(b + tau * identity)
        except np.linalg.LinAlgError:
            tau = max(2 * tau, beta)


def newton(
    value_and_grad: Callable[[Array], tuple[Any, Array]],
    hessian: Callable[[Array], Array],
    x0: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 100,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    damping: float = 0.0,
) -> Result:
    """Minimise a function of a vector. Arguments and errors: as `bfgs`, and

    Args:
        hessian: x (n) -> the second derivatives (n n).
        damping: what is added to their diagonal, at least 0.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "damping": damping,
    }
    check("newton", options)
    formed = 0

    def direction(x: Array, g: Array) -> Array:
        nonlocal formed
        formed += 1
        b = np.asarray(hessian(x))
        check_shape("newton", "the Hessian", b.shape, (len(x), len(x)))
        lower = factor(b + damping * np.eye(len(x), dtype=b.dtype))
        z = np.linalg.solve(lower, -g)
        return np.linalg.solve(lower.T, z)

    return descend(
        "newton",
        value_and_grad,
        x0,
        direction,
        lambda s, y: None,
        options,
        cautious=False,
        matrices=lambda: formed,
    )
