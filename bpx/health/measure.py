"""The statistics, defined on NumPy arrays. The frameworks compute them in their own ways."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.health.kinds import EDGE, KINDS, SURE
from bpx.health.record import Moments

CLOSE = 1e-5  # rows are twins within this share of the largest value: rounding of a sum, no more


def moments(x: Any) -> Moments:
    """The moments of an array of any shape, in float64."""
    x = np.asarray(x, np.float64)
    bad = int(x.size - np.isfinite(x).sum())
    if bad or not x.size:
        mean = variance = float("nan")
    else:
        mean = float(x.mean())
        variance = float(((x - mean) ** 2).mean())
    return Moments(x.size, mean, variance, bad)


def dead(x: Any, axis: int = -1) -> float | None:
    """Share of units, the places of `axis`, that are zero for every example: all other axes. None
    where a unit has under two values."""
    x = np.asarray(x)
    if x.ndim == 0 or x.size < 2 * x.shape[axis] or not x.size:
        return None
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    return float((rows == 0).all(0).mean())


def saturated(y: Any, kind: str) -> float | None:
    """Share of values whose derivative is under 2 % of its largest; of a softmax over the last
    axis, share of rows with one probability beyond 0.99. None for kinds without bounds."""
    bounds = KINDS[kind]
    y = np.asarray(y, np.float64)
    if bounds is None or not y.size:
        return None
    if kind == "softmax":
        return float((y.max(-1) > SURE).mean())
    low, high = bounds
    return float((np.abs(2 * (y - low) / (high - low) - 1) > EDGE).mean())


def twins(weight: Any, gradient: Any) -> float | None:
    """Share of units whose weights and gradients both equal those of another unit.

    Units are rows (places of the first axis) or columns (of the last), whichever share is larger:
    frameworks differ in which of them are outputs. None for vectors and for one unit.
    """
    weight, gradient = np.asarray(weight, np.float64), np.asarray(gradient, np.float64)
    if weight.ndim < 2:
        return None
    shares = []
    for axis in (0, weight.ndim - 1):
        units = weight.shape[axis]
        if units < 2 or not weight.size:
            continue
        alike = np.ones((units, units), bool)
        for a in (weight, gradient):
            rows = np.moveaxis(a, axis, 0).reshape(units, -1)
            gap = np.abs(rows[:, None] - rows[None]).max(-1)
            alike &= gap <= CLOSE * np.abs(rows).max()
        shares.append(float((alike.sum(1) > 1).mean()))
    return max(shares, default=None)
