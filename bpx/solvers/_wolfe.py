"""The line search that the solvers share: a step that satisfies the strong Wolfe conditions.

    phi(t) <= phi(0) + c1 t phi'(0)         sufficient decrease
    |phi'(t)| <= c2 |phi'(0)|               curvature
    c1 = 1e-4, c2 = 0.9

Algorithm 3.5 tries longer steps until an interval holds such a step, algorithm 3.6 (zoom) shrinks
the interval. The book leaves open how the next step is chosen: here by the cubic of (3.59) through
the two ends, in the first phase kept within [t + 0.01 (t - t_before), 10 t], in the second moved to
a tenth from an end that it comes too close to twice in a row, or once upon it. At most MOST steps
are tried, and no more than max_eval allows.

Close to a minimum phi(a) - phi(b) is rounding and nothing else, long before the slopes are. Where
the two values agree to NOISE of their size, their difference is taken from the slopes,
(a - b) (phi'(a) + phi'(b)) / 2, which is exact for a parabola; sufficient decrease then is the
"approximate Wolfe" condition of Hager and Zhang. A value or slope that is not finite counts as
infinitely high.

Source: Nocedal, Wright 2006, "Numerical Optimization", 2nd edition, algorithms 3.5 and 3.6,
equation 3.59; Hager, Zhang 2005, "A new conjugate gradient method with guaranteed descent and an
efficient line search", SIAM J. Optim. 16(1), equation 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

C1, C2, MOST = 1e-4, 0.9, 25
NOISE = 2 / 3  # the power of eps


@dataclass(frozen=True)
class Point:
    """A step t with phi(t), phi'(t) and the gradient there."""

    t: float
    value: float
    slope: float
    grad: Any

    @property
    def finite(self) -> bool:
        return math.isfinite(self.value) and math.isfinite(self.slope)


def rise(a: Point, b: Point, noise: float) -> float:
    """phi(a) - phi(b)."""
    if not (a.finite and b.finite):
        return (0.0 if a.finite else math.inf) - (0.0 if b.finite else math.inf)
    d = a.value - b.value
    if abs(d) <= noise * max(abs(a.value), abs(b.value)):
        return (a.t - b.t) * (a.slope + b.slope) / 2
    return d


def cubic(a: Point, b: Point, low: float, high: float, noise: float) -> float:
    """The minimiser within [low, high] of the cubic through two points; halfway without one."""
    d1 = a.slope + b.slope - 3 * rise(a, b, noise) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not (square >= 0 and math.isfinite(square)):
        return (low + high) / 2
    d2 = math.copysign(math.sqrt(square), b.t - a.t)
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return (low + high) / 2
    t = b.t - (b.t - a.t) * (b.slope + d2 - d1) / below
    return min(max(t, low), high)


def strong_wolfe(
    phi: Callable[[float], Point], start: Point, t: float, narrow: float, eps: float, most: float
) -> tuple[Point, Point]:
    """Search along phi, of which `start` is phi(0) with a negative slope, from the first step t.

    `narrow` is the width of the interval at which zoom stops, `most` how many steps are tried.
    Returns the point found, which is `start` where the search has failed, and the last one tried.
    """
    noise = eps**NOISE

    def decreases(p: Point) -> bool:
        return rise(p, start, noise) <= C1 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -C2 * start.slope

    # algorithm 3.5; alpha_0 = 0, alpha_max is what the extrapolations reach
    before, i = start, 1
    while True:
        p = phi(t)
        if not decreases(p) or (i > 1 and rise(p, before, noise) >= 0):
            low, high = before, p
            break
        if flat(p):
            return p, p
        if p.slope >= 0:
            low, high = p, before
            break
        if i >= most:
            return p, p
        t = cubic(before, p, p.t + 0.01 * (p.t - before.t), 10 * p.t, noise)
        before, i = p, i + 1

    # algorithm 3.6
    close = False  # whether the last step came too close to an end
    while i < most and abs(high.t - low.t) >= narrow:
        left, right = min(low.t, high.t), max(low.t, high.t)
        t = cubic(low, high, left, right, noise)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if close or t in (left, right):
                t = right - margin if right - t < t - left else left + margin
                close = False
            else:
                close = True
        else:
            close = False
        if t in (left, right):  # no number between them
            break
        p = phi(t)
        i += 1
        if not decreases(p) or rise(p, low, noise) >= 0:
            high = p
        else:
            if flat(p):
                return p, p
            if p.slope * (high.t - low.t) >= 0:
                high = low
            low = p
    return low, p


def epsilon(x: Any) -> float:
    return float(np.finfo(x.dtype).eps)
