"""The spec against calculus: every element of every float argument, no framework involved.

Where the spec is analytic it runs on x + ih and the imaginary part divided by h is the derivative
to rounding (Squire, Trapp 1998, "Using complex variables to estimate derivatives of real
functions", SIAM Review 40(1)). Where not, central differences at two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

STEP = 1e-30
ANALYTIC, DIFFERENCED = 1e-12, 1e-8  # relative to max|gradient|


def complex_step(loss: Callable[[Any], Any], x: Any) -> Any:
    """Gradient of a real loss (a sum that may be complex) at x, one element at a time."""
    grad = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = x.astype(np.complex128)
        moved[place] += 1j * STEP
        grad[place] = np.imag(loss(moved)) / STEP
    return grad


def central(loss: Callable[[Any], Any], x: Any) -> Any:
    """Gradient by fourth-order central differences, Richardson's combination of two steps."""
    grad = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        h = 1e-3 * max(1.0, abs(float(x[place])))
        slopes = []
        for step in (h, 2 * h):
            up, down = x.copy(), x.copy()
            up[place] += step
            down[place] -= step
            slopes.append((loss(up) - loss(down)) / (up[place] - down[place]))
        grad[place] = (4 * slopes[0] - slopes[1]) / 3
    return grad


def gradient(
    forward: Callable[..., Any], arrays: list[Any], i: int, dy: Any, analytic: bool
) -> Any:
    """d(sum dy * y) / d(arrays[i]) by calculus on the forward alone."""

    def loss(x: Any) -> Any:
        y = forward(*arrays[:i], x, *arrays[i + 1 :])[0]
        return (dy * y).sum()

    with np.errstate(all="ignore"):
        return (complex_step if analytic else central)(loss, np.asarray(arrays[i], dtype=float))
