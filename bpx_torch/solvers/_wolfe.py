"""The strong-Wolfe line search for PyTorch. Conditions, choices and sources: bpx/solvers/_wolfe.py.

One loop for both phases: `low` is the best step so far, `high` the other end of the interval once
there is one. The steps are Python numbers; a trial waits for its loss anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bpx.solvers._wolfe import C1, C2, NOISE


class Trial(NamedTuple):
    t: float
    loss: float
    slope: float
    grad: Tensor

    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.slope)


def search(
    evaluate: Callable[[float], Trial],
    start: Trial,
    t: float,
    narrow: float,
    eps: float,
    most: float,
) -> tuple[Trial, Trial]:
    """The step found (`start` where there is none) and the last one tried."""
    noise = eps**NOISE
    low, high = start, None
    tried, near = 0, False
    while True:
        p = evaluate(t)
        tried += 1
        enough = p.finite() and excess(p, start, noise) <= C1 * p.t * start.slope
        # the first step has no step before it to be compared with
        if not enough or ((high is not None or tried > 1) and excess(p, low, noise) >= 0):
            high = p
        elif abs(p.slope) <= C2 * abs(start.slope):
            return p, p
        elif high is None and p.slope < 0:
            if tried >= most:
                return p, p
            t = lowest(low, p, p.t + 0.01 * (p.t - low.t), 10 * p.t, noise)
            low = p
            continue
        else:
            if high is None or p.slope * (high.t - low.t) >= 0:
                high = low
            low = p
        a, b = sorted((low.t, high.t))
        if tried >= most or b - a < narrow:
            return low, p
        t = lowest(low, high, a, b, noise)
        tenth, outside = (b - a) / 10, t in (a, b)
        if min(b - t, t - a) >= tenth:
            near = False
        elif near or outside:
            near, t = False, (b - tenth if b - t < t - a else a + tenth)
        else:
            near = True
        if t in (a, b):
            return low, p


def excess(p: Trial, q: Trial, noise: float) -> float:
    """How much higher p is than the finite q: by the slopes where the values are rounding."""
    by_value = p.loss - q.loss
    if abs(by_value) > noise * max(abs(p.loss), abs(q.loss)):
        return by_value
    return 0.5 * (p.t - q.t) * (p.slope + q.slope)


def lowest(p: Trial, q: Trial, left: float, right: float, noise: float) -> float:
    """Where the cubic through p and q is lowest, within [left, right]; halfway if nowhere.

    With u = (t - p.t) / h and h = q.t - p.t it is A u^3 + B u^2 + C u; its lowest point is the root
    of 3 A u^2 + 2 B u + C where the second derivative is positive.
    """
    if not q.finite():
        return 0.5 * (left + right)
    h = q.t - p.t
    rise = excess(q, p, noise)
    c = p.slope * h
    a = c + q.slope * h - 2 * rise
    b = 3 * rise - 2 * c - q.slope * h
    inside = b * b - 3 * a * c
    if not 0 <= inside < math.inf:
        return 0.5 * (left + right)
    root = math.sqrt(inside)
    above, below = (-c, b + root) if b >= 0 else (root - b, 3 * a)
    if below == 0:
        return 0.5 * (left + right) if above == 0 or b >= 0 else right if h > 0 else left
    return min(max(p.t + h * above / below, left), right)
