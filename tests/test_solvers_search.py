"""The line search of bpx.solvers: the conditions it promises, its cubic, its care with rounding."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from bpx.solvers import _wolfe
from bpx.solvers._wolfe import C1, C2, MOST, Point, strong_wolfe

EPS = float(np.finfo(np.float64).eps)


def line(f: Any, df: Any) -> Any:
    return lambda t: Point(t, float(f(t)), float(df(t)), None)


LINES = {
    # with the minimum far to the right, at a narrow valley, among ripples, behind a cliff
    "far": line(lambda t: -t / (t**2 + 2e4), lambda t: (t**2 - 2e4) / (t**2 + 2e4) ** 2),
    "flat": line(lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
                 lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),
    "ripples": line(lambda t: (t - 3) ** 2 - np.sin(20 * t),
                    lambda t: 2 * (t - 3) - 20 * np.cos(20 * t)),
    "ripples down": line(lambda t: 0.1 * (t - 30) ** 2 - np.sin(8 * t),
                         lambda t: 0.2 * (t - 30) - 8 * np.cos(8 * t)),
    "wall": line(lambda t: -t - np.log(1 - t) * 0.01 if t < 1 else np.nan,
                 lambda t: -1 + 0.01 / (1 - t) if t < 1 else np.nan),
    "offset": line(lambda t: 1e8 + (t - 1e-5) ** 2, lambda t: 2 * (t - 1e-5)),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("first", [1e-4, 0.3, 1.0, 50.0])
def test_strong_wolfe_conditions(name: str, first: float) -> None:
    tried: list[float] = []
    phi = LINES[name]
    start = phi(0.0)
    assert start.slope < 0

    def noted(t: float) -> Point:
        tried.append(t)
        return phi(t)

    p, last = strong_wolfe(noted, start, first, 0.0, EPS, MOST)
    assert tried[0] == first
    assert len(tried) <= MOST
    assert last.t == tried[-1]
    assert abs(p.slope) <= C2 * abs(start.slope)
    # exact where the values are not rounding; "offset" has no digit of the decrease in them
    if name != "offset":
        assert p.value <= start.value + C1 * p.t * start.slope
    else:
        assert 0 < p.t < 1.9e-5


def test_cubic_is_exact_for_a_cubic() -> None:
    f, df = np.polynomial.Polynomial([1, -2, -3, 4]), np.polynomial.Polynomial([-2, -6, 12])
    minimum = max(df.roots())
    for a, b in itertools.permutations((-0.3, 0.1, 0.6, 2.0), 2):
        p, q = (line(f, df)(t) for t in (a, b))
        assert abs(_wolfe.cubic(p, q, -9, 9, 0.0) - minimum) < 50 * EPS
    assert _wolfe.cubic(p, q, 0.8, 0.9, 0.0) == 0.8
    assert _wolfe.cubic(p, q, -0.9, 0.3, 0.0) == 0.3
    high = Point(1.0, np.inf, np.nan, None)
    assert _wolfe.cubic(p, high, 0.2, 0.4, 0.0) == pytest.approx(0.3)


def test_rise_is_by_slopes_where_values_are_rounding() -> None:
    low, high = Point(1.0, 7.0, -2.0, None), Point(1.5, 7.0 + 3 * EPS, 1.0, None)
    assert _wolfe.rise(high, low, 1e-10) == 0.5 * (1.0 - 2.0) / 2
    assert _wolfe.rise(high, low, 0.0) == high.value - low.value
