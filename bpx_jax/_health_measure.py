"""Statistics of arrays for bpx_jax.health as sums, which add over vmap, scan and repeated calls.
What they are: bpx/health/measure.py.

A tag's sums leave the function as the cotangent of an argument that adds nothing (a probe), and
JAX adds cotangents. So each must be a sum:

    calls, count, bad, total, upper, lower, between_upper, between_lower, saturated

total is the sum of the values; upper and lower the sums of squares within each call about its mean,
scaled by 2^48 and 2^-48: of the two at least one neither overflows nor vanishes in float32.
The between_ two are the sums of count * mean² of the calls, scaled alike.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bpx.health.kinds import EDGE, KINDS, SURE
from bpx.health.record import Moments

FIELDS = (
    *("calls", "count", "bad", "total", "upper", "lower"),
    *("between_upper", "between_lower", "saturated"),
)
SCALES = (2.0**48, 2.0**-48)
CLOSE = 1e-5
FEW = 8


def sums(x, kind=""):
    """The sums of one array, (9,) float32. What is not finite makes no number NaN but its own
    count: zeros take its place."""
    count = max(x.size, 1)
    fine = jnp.isfinite(x)
    kept = _wide(jnp.where(fine, x, jnp.zeros_like(x)))
    mean = jnp.sum(kept / count)  # divided first: a sum of large values overflows
    # without a barrier XLA squares first and scales then, which overflows
    scaled = [jax.lax.optimization_barrier(((kept - mean) * s, mean * s)) for s in SCALES]
    squares = [jnp.sum(jnp.square(a)) for a, _ in scaled]
    between = [count * jnp.square(m) for _, m in scaled]
    parts = (1.0, float(x.size), jnp.sum(~fine, dtype=jnp.float32), mean * count, *squares)
    return jnp.stack([jnp.asarray(p, jnp.float32) for p in (*parts, *between, _saturated(x, kind))])


def _saturated(y, kind):
    """How many values are at the bounds of the kind; of a softmax the values of such rows."""
    bounds = KINDS[kind]
    if bounds is None or not y.size:
        return 0.0
    y = jnp.atleast_1d(_wide(y))
    if kind == "softmax":
        # no maximum: XLA's on a CPU passes over a NaN
        sure = jnp.any(y > SURE, -1) & ~jnp.any(jnp.isnan(y), -1)
        return jnp.sum(sure, dtype=jnp.float32) * y.shape[-1]
    middle, half = bounds_of(kind)
    return jnp.sum(jnp.abs(y - middle) > half, dtype=jnp.float32)


def bounds_of(kind):
    """The middle between the bounds of a kind, and how far from it a value is saturated."""
    low, high = KINDS[kind]
    return (low + high) / 2, (high - low) / 2 * EDGE


def moments(sums):
    """`Moments` of sums that are on the host, None where no call was made."""
    s = dict(zip(FIELDS, np.asarray(sums, np.float64).tolist(), strict=True))
    if not s["calls"]:
        return None
    count, bad = round(s["count"]), round(s["bad"])
    if bad or not count:
        return Moments(count, math.nan, math.nan, bad)
    mean = s["total"] / count
    variance = _unscaled(s["upper"], s["lower"]) / count
    if s["calls"] > 1:
        between = _unscaled(s["between_upper"], s["between_lower"]) / count - mean**2
        variance += max(between, 0.0)
    return Moments(count, mean, variance, 0)


def _unscaled(upper, lower):
    """The sum of squares from the one of its two scalings that float32 has room for."""
    up, down = SCALES
    return upper / up**2 if math.isfinite(upper) else lower / down**2


def alive(x, axis):
    """For each unit how many of its values are not zero, float32."""
    rest = tuple(i for i in range(x.ndim) if i != axis % x.ndim)
    return jnp.sum(x != 0, rest, dtype=jnp.float32)


def norm(x):
    """The Euclidean norm, float32, of values of any size."""
    x = _wide(x)
    largest = jnp.max(jnp.abs(x), initial=0.0)
    size = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return (size * jnp.sqrt(jnp.sum(jnp.square(x / size)))).astype(jnp.float32)


def _wide(x):
    """x in the type to compute in: float64 for itself alone."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)


def comparable(shape):
    """The axes whose places are units to compare: of a vector none, nor a single place."""
    if len(shape) < 2 or not math.prod(shape):
        return []
    return [axis for axis in (0, len(shape) - 1) if shape[axis] > 1]


def twins(weight, gradient):
    """Share of units with a twin, float32; None where none are `comparable`. By two sums with
    irregular coefficients for each row, sorted: no two rows are compared that are not neighbours
    then. Where a few of their weights tell all units apart, as they nearly always do, no more is
    computed."""
    axes = comparable(weight.shape)
    if not axes:
        return None
    shares = [
        jax.lax.cond(
            _apart(weight, axis),
            lambda *_: jnp.float32(0),
            partial(_share, axis=axis),
            weight,
            gradient,
        )
        for axis in axes
    ]
    return jnp.max(jnp.stack(shares))


def _apart(weight, axis):
    """Whether the first few weights of a unit tell all units apart."""
    n = weight.shape[axis]
    table = weight.reshape(n, -1) if axis == 0 else weight.reshape(-1, n)
    few = (table[:, :FEW] if axis == 0 else table[:FEW].T).astype(jnp.float32)
    # twins are neighbours by a sum of irregular coefficients, whatever weights others share
    key = few @ jnp.cos(jnp.arange(1, few.shape[1] + 1, dtype=jnp.float32) ** np.float32(1.4))
    few = few[jnp.argsort(key)]
    limit = 10 * CLOSE * jnp.max(jnp.abs(weight)).astype(jnp.float32)
    return jnp.all(jnp.max(jnp.abs(few[1:] - few[:-1]), 1) > limit)


def _share(weight, gradient, axis):
    n = weight.shape[axis]
    found = []
    for a in (weight, gradient):
        rows = jnp.moveaxis(a, axis, 0).reshape(n, -1).astype(jnp.float32)
        i = jnp.arange(1, rows.shape[1] + 1, dtype=jnp.float32)
        mix = jnp.stack([jnp.sin(2.1 * i ** np.float32(1.5)), jnp.cos(i ** np.float32(1.4))])
        each = jnp.matmul(rows, mix.T, precision=jax.lax.Precision.HIGHEST)
        largest = jnp.max(jnp.abs(each))
        found.append(each / jnp.where(largest > 0, largest, jnp.float32(1)))
    found = jnp.concatenate(found, 1)
    key = found @ jnp.asarray([1.0, 0.59, 0.41, 0.29], jnp.float32)
    found = found[jnp.argsort(key)]
    same = jnp.max(jnp.abs(found[1:] - found[:-1]), 1) <= CLOSE
    none = jnp.zeros((1,), bool)
    has = jnp.concatenate([none, same]) | jnp.concatenate([same, none])
    return jnp.mean(has.astype(jnp.float32))
