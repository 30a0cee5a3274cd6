"""The loop that bfgs, lbfgs, newton and gauss_newton share: a direction, a step along it, again.

    p_k     = direction(x_k, g_k)
    alpha_k = a step that satisfies the strong Wolfe conditions along p_k; or lr, unsearched
    x_k+1   = x_k + alpha_k p_k
    learn(s = x_k+1 - x_k, y = g_k+1 - g_k)

The loop ends, in this order, when there is no descent left, after a step when max_iter or max_eval
is reached, when max|g| <= tolerance_grad, when max|s| <= tolerance_change or x + s is x, when the
value has changed by less than tolerance_change. s is alpha_k p_k as computed, which rounding of x
does not spoil.

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, algorithms 6.1 and 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.solvers._result import Result, check_shape, check_start
from bpx.solvers._wolfe import MOST, Point, epsilon, strong_wolfe
from bpx.spec import Options

Array = NDArray[Any]


class NotFinite(Exception):
    """A matrix of derivatives has a value that is not finite."""


def largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def begin(entry: str, x0: Any) -> Array:
    """x0 as an array, once it is seen to be a vector of floating numbers."""
    x = np.array(x0)
    check_start(entry, x.shape, np.issubdtype(x.dtype, np.floating), x.dtype)
    return x


def descend(
    entry: str,
    value_and_grad: Callable[[Array], tuple[Any, Array]],
    x0: Any,
    direction: Callable[[Array, Array], Array],
    learn: Callable[[Array, Array], None],
    options: Options,
    *,
    cautious: bool,
    matrices: Callable[[], int] = lambda: 0,
) -> Result:
    """Run the loop. `cautious`: the first direction is a gradient, whose length says nothing."""
    x = begin(entry, x0)
    lr, tolerance_grad = options["lr"], options["tolerance_grad"]
    tolerance_change, max_iter = options["tolerance_change"], options["max_iter"]
    max_eval = options["max_eval"] or math.inf
    searched = options.get("line_search_fn", "strong_wolfe") is not None
    count = 0

    def at(x: Array, p: Array, t: float) -> Point:
        nonlocal count
        count += 1
        value, grad = value_and_grad(x + t * p)
        grad = np.asarray(grad)
        check_shape(entry, "the gradient", grad.shape, x.shape)
        with np.errstate(invalid="ignore", over="ignore"):
            return Point(t, float(value), float(grad @ p), grad)

    def result(here: Point, iterations: int, outcome: str) -> Result:
        size = largest(here.grad)
        return Result(x, here.value, size, iterations, count, matrices(), outcome)

    here = at(x, np.zeros_like(x), 0.0)
    if not (math.isfinite(here.value) and np.isfinite(here.grad).all()):
        return result(here, 0, "non-finite")
    if largest(here.grad) <= tolerance_grad:
        return result(here, 0, "converged")
    for k in range(max_iter):
        try:
            p = direction(x, here.grad)
        except NotFinite:
            return result(here, k, "non-finite")
        slope = float(here.grad @ p)
        if not math.isfinite(slope):
            return result(here, k, "non-finite")
        if slope >= 0:
            return result(here, k, "line search failed")
        if slope > -tolerance_change:
            return result(here, k, "small change")
        t = lr
        if k == 0 and cautious:
            t = min(1.0, 1.0 / float(np.abs(here.grad).sum())) * lr
        start = Point(0.0, here.value, slope, here.grad)
        if searched:
            phi = partial(at, x, p)
            narrow, most = tolerance_change / largest(p), min(MOST, max_eval - count)
            there, tried = strong_wolfe(phi, start, t, narrow, epsilon(x), most)
            if there is start:
                if count >= max_eval:
                    return result(here, k, "max evaluations")
                return result(here, k, "line search failed" if tried.finite else "non-finite")
        else:
            there = at(x, p, t)
            if not there.finite:
                return result(here, k, "non-finite")
        s, y = there.t * p, there.grad - here.grad
        still = np.array_equal(x + s, x)
        x = x + s
        before, here = here, there
        if k + 1 == max_iter:
            break
        if count >= max_eval:
            return result(here, k + 1, "max evaluations")
        if largest(here.grad) <= tolerance_grad:
            return result(here, k + 1, "converged")
        if still or largest(s) <= tolerance_change:
            return result(here, k + 1, "small change")
        if abs(here.value - before.value) < tolerance_change:
            return result(here, k + 1, "small change")
        learn(s, y)
    found = largest(here.grad) <= tolerance_grad
    return result(here, max_iter, "converged" if found else "max iterations")
