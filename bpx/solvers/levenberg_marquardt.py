"""Levenberg-Marquardt for least squares: Gauss-Newton, damped by how well it has predicted.

    A = J^T J,  g = J^T r,  f = |r|^2 / 2;   at the start mu = tau max A_ii,  nu = 2
    (A + mu I) h = -g
    gain = (f(x) - f(x + h)) / (h^T (mu h - g) / 2)
    gain > 0:   x <- x + h,  mu <- mu max(1/3, 1 - (2 gain - 1)^3),  nu <- 2
    else:       mu <- mu nu,  nu <- 2 nu

Where f(x) and f(x + h) agree to eps^(2/3) of their size, f(x) - f(x + h) is taken from the
gradients, -h^T (g(x) + g(x + h)) / 2. A point that is not finite has gain 0. Each h counts as an
iteration, taken or not; the loop ends where max|h| <= tolerance_change or x + h is x.

Source: Madsen, Nielsen, Tingleff 2004, "Methods for non-linear least squares problems", IMM, DTU,
2nd edition, algorithm 3.16; Marquardt 1963, SIAM J. Appl. Math. 11(2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.solvers._descent import begin, largest
from bpx.solvers._result import Result, check
from bpx.solvers._wolfe import NOISE, epsilon
from bpx.solvers.gauss_newton import evaluated

Array = NDArray[Any]


def levenberg_marquardt(
    residual_and_jacobian: Callable[[Array], tuple[Array, Array]],
    x0: Any,
    *,
    max_iter: int = 200,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    tau: float = 1e-3,
) -> Result:
    """Minimise half the sum of squared residuals. Arguments and errors: as `gauss_newton`, and

    Args:
        tau: the first damping, relative to the largest diagonal element of J^T J: small (1e-6)
            where x0 is close to the solution, 1 where nothing is known.
    """
    options = {
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "tau": tau,
    }
    check("levenberg_marquardt", options)
    x = begin("levenberg_marquardt", x0)
    noise = epsilon(x) ** NOISE
    count = 0

    def at(x: Array) -> tuple[float, Array, Array]:
        nonlocal count
        count += 1
        r, jacobian = evaluated("levenberg_marquardt", residual_and_jacobian, x)
        with np.errstate(invalid="ignore", over="ignore"):
            return float(r @ r / 2), jacobian.T @ r, jacobian.T @ jacobian

    def finite(f: float, g: Array, a: Array) -> bool:
        return bool(math.isfinite(f) and np.isfinite(g).all() and np.isfinite(a).all())

    def result(iterations: int, outcome: str) -> Result:
        return Result(x, f, largest(g), iterations, count, count, outcome)

    f, g, a = at(x)
    if not finite(f, g, a):
        return result(0, "non-finite")
    if largest(g) <= tolerance_grad:
        return result(0, "converged")
    mu, nu = tau * float(np.max(np.diag(a))), 2.0
    identity = np.eye(len(x), dtype=x.dtype)
    for k in range(max_iter):
        h = np.linalg.solve(a + mu * identity, -g)
        if largest(h) <= tolerance_change or np.array_equal(x + h, x):
            return result(k, "line search failed" if nu > 2 else "small change")
        if max_eval is not None and count >= max_eval:
            return result(k, "max evaluations")
        f_new, g_new, a_new = at(x + h)
        predicted = h @ (mu * h - g) / 2
        fall = f - f_new
        if abs(fall) <= noise * max(f, f_new):
            fall = float(-h @ (g + g_new)) / 2
        gain = float(fall / predicted) if finite(f_new, g_new, a_new) else 0.0
        if gain > 0:
            x, f, g, a = x + h, f_new, g_new, a_new
            if largest(g) <= tolerance_grad:
                return result(k + 1, "converged")
            mu, nu = mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
        else:
            mu, nu = mu * nu, 2 * nu
    return result(max_iter, "max iterations")
