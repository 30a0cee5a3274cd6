"""Gauss-Newton for least squares: Newton's method with J^T J in place of the Hessian.

    f(x) = |r(x)|^2 / 2,   g = J^T r
    p = the shortest of the vectors that minimise |J p + r|
    x <- x + alpha p                        alpha: strong Wolfe, first trial lr

p solves J^T J p = -J^T r without forming J^T J, whose condition is the square of J's; where J has
less than full rank it is the solution of least norm (singular values below
eps max(m, n) times the largest count as 0).

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, section 10.3, equations 10.23
and 10.26.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.solvers._descent import NotFinite, descend
from bpx.solvers._result import Result, check, check_shape

Array = NDArray[Any]


def gauss_newton(
    residual_and_jacobian: Callable[[Array], tuple[Array, Array]],
    x0: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 100,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
) -> Result:
    """Minimise half the sum of squared residuals. Arguments and errors: as `bfgs`, but

    Args:
        residual_and_jacobian: x (n) -> (r (m), dr/dx (m n)).
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
    }
    check("gauss_newton", options)
    formed = 0
    # of the points that the last search tried; the next direction is wanted at one of them
    tried: dict[bytes, tuple[Array, Array]] = {}

    def value_and_grad(x: Array) -> tuple[float, Array]:
        nonlocal formed
        formed += 1
        r, jacobian = evaluated("gauss_newton", residual_and_jacobian, x)
        tried[x.tobytes()] = r, jacobian
        with np.errstate(invalid="ignore", over="ignore"):
            return float(r @ r / 2), jacobian.T @ r

    def direction(x: Array, g: Array) -> Array:
        r, jacobian = tried[x.tobytes()]
        tried.clear()
        if not np.isfinite(jacobian).all():
            raise NotFinite
        return np.linalg.lstsq(jacobian, -r, rcond=None)[0]

    return descend(
        "gauss_newton",
        value_and_grad,
        x0,
        direction,
        lambda s, y: None,
        options,
        cautious=False,
        matrices=lambda: formed,
    )


def evaluated(
    entry: str, residual_and_jacobian: Callable[[Array], tuple[Array, Array]], x: Array
) -> tuple[Array, Array]:
    """Residual and Jacobian, once their shapes are seen to fit."""
    r, jacobian = (np.asarray(a) for a in residual_and_jacobian(x))
    check_shape(entry, "the residual", r.shape, r.shape[:1] or (1,))
    check_shape(entry, "the Jacobian", jacobian.shape, (len(r), len(x)))
    return r, jacobian
