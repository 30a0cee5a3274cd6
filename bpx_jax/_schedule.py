"""What the schedules share: a step count in the arithmetic of a schedule, and lines through points.

A schedule is a function of the steps taken (an int, or an array that may be traced) to a scalar of
the default float dtype. A float32 counts steps exactly up to 2^24.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx.training import Schedule as Entry

Schedule = Callable[[Any], Any]


def check(spec: Entry, **given: Any) -> None:
    """Check the options that can be read; arrays, which may be traced, stand for their defaults."""
    if spec.check is not None:
        readable = {k: v for k, v in given.items() if not isinstance(v, (jax.Array, np.ndarray))}
        spec.check({**spec.options, **readable})


def dtype() -> Any:
    return jnp.result_type(float)


def steps(count: Any) -> jax.Array:
    """The steps taken, as a float."""
    return jnp.asarray(count).astype(dtype())


def number(value: Any) -> Any:
    """An option for the arithmetic of a schedule: a Python number keeps its digits."""
    if isinstance(value, (int, float)):
        return float(value)
    return jnp.asarray(value).astype(dtype())


def scalar(value: Any) -> jax.Array:
    return jnp.asarray(value).astype(dtype())


def wave(share: Any) -> jax.Array:
    """1 at 0 and 0 at 1: (1 + cos(pi share)) / 2 as a square, which does not cancel near 1."""
    return jnp.square(jnp.cos((math.pi / 2) * share))


def through(points: Sequence[tuple[float, Any]], count: Any, cosine: bool) -> jax.Array:
    """The value at `count` of a line through points (step, value); constant outside of them."""
    t = steps(count)
    value = scalar(points[0][1])
    for (start, y0), (end, y1) in itertools.pairwise(points):
        share = (t - start) / (end - start if end > start else 1)
        left = wave(share) if cosine else 1 - share
        here = y1 + (y0 - y1) * left
        value = jnp.where(t >= start, jnp.where(t < end, here, scalar(y1)), value)
    return value
