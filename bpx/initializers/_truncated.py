"""The standard normal truncated to an interval: by inversion, and its moments.

    x = ndtri(ndtr(lower) + u (ndtr(upper) - ndtr(lower)))

An interval above 0 is mirrored, so that ndtr is taken where it does not round to 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bpx.special import ndtr, ndtri


def mass(lower: float, upper: float) -> float:
    """The probability of the interval; 0 where it underflows, beyond about 38."""
    if lower > 0:
        lower, upper = -upper, -lower
    return float(ndtr(upper) - ndtr(lower))


def truncated(u: Any, lower: float, upper: float) -> Any:
    """Truncated normal values from uniform ones in [0, 1)."""
    if lower > 0:
        return -truncated(u, -upper, -lower)
    x = ndtri(ndtr(lower) + u * mass(lower, upper))
    return np.clip(x, lower, upper)  # ndtri(ndtr(x)) is x but for rounding


def moments(lower: float, upper: float) -> tuple[float, float]:
    """(mean, standard deviation). Source: Johnson, Kotz, Balakrishnan 1994, equation 13.134."""
    total = mass(lower, upper)
    f_lower, f_upper = _density(lower), _density(upper)
    mean = (f_lower - f_upper) / total
    spread = (_moment(lower) * f_lower - _moment(upper) * f_upper) / total
    return mean, math.sqrt(max(1.0 + spread - mean * mean, 0.0))


def _moment(x: float) -> float:
    return x if math.isfinite(x) else 0.0


def _density(x: float) -> float:
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
