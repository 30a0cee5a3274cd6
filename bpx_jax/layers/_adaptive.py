"""Windows whose number is given, along one axis or all of them."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from bpx.layers._adaptive import output_sizes as output_sizes


def bounds(size, out):
    """Starts and ends of `out` windows over `size` elements."""
    o = np.arange(out)
    return o * size // out, -(-(o + 1) * size // out)


def box_sum(x, axis, out):
    """The sum over each of `out` windows along an axis."""
    size = x.shape[axis]
    if size % out == 0:
        return x.reshape(*x.shape[:axis], out, size // out, *x.shape[axis + 1 :]).sum(axis + 1)
    seen, inside = _look(x, axis, out)
    beside = [1] * seen.ndim
    beside[axis : axis + 2] = inside.shape
    return jnp.where(inside.reshape(beside), seen, jnp.zeros((), x.dtype)).sum(axis + 1)


def _look(x, axis, out):
    """What each window sees, in place of the axis two: windows and their elements, the short ones
    padded; and where there is no padding."""
    size = x.shape[axis]
    start, end = bounds(size, out)
    at = start[:, None] + np.arange((end - start).max())
    seen = jnp.take(x, np.minimum(at, size - 1).ravel(), axis)
    return seen.reshape(*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]), at < end[:, None]


def lengths(size, out):
    start, end = bounds(size, out)
    return end - start


def divided(total, sizes):
    """total (B C *O) over the number of elements in each window."""
    for axis, (s, out) in enumerate(zip(sizes, total.shape[2:], strict=True), 2):
        beside = [-1 if i == axis else 1 for i in range(total.ndim)]
        total = total / jnp.asarray(lengths(s, out).reshape(beside), total.dtype)
    return total


def windows(x, output_size):
    """What each window sees, its elements in one last axis (B C *O L); short ones hold -inf."""
    n = x.ndim - 2
    for i, out in enumerate(output_sizes(x.shape[2:], output_size)):
        axis = 2 + 2 * i
        x, inside = _look(x, axis, out)
        beside = [1] * x.ndim
        beside[axis : axis + 2] = inside.shape
        x = jnp.where(inside.reshape(beside), x, jnp.full((), -jnp.inf, x.dtype))
    x = x.transpose(0, 1, *range(2, 2 + 2 * n, 2), *range(3, 3 + 2 * n, 2))
    return x.reshape(*x.shape[: 2 + n], math.prod(x.shape[2 + n :]))


def first_maxima(x, output_size):
    """Where each window has its first maximum, or its last NaN, along the flattened spatial axes.
    JAX has no derivative for this, nor is there one: x is a constant here."""
    seen = windows(jax.lax.stop_gradient(x), output_size)
    nan = jnp.isnan(seen)
    last = seen.shape[-1] - 1 - jax.lax.argmax(nan[..., ::-1], nan.ndim - 1, np.int32)
    first = jax.lax.argmax(seen, seen.ndim - 1, np.int32)
    place = jnp.where(nan.any(-1), last, first)
    sizes = x.shape[2:]
    outs = output_sizes(sizes, output_size)
    at, step = jnp.zeros_like(place), 1
    for i in reversed(range(len(sizes))):
        longest = int(lengths(sizes[i], outs[i]).max())
        beside = [-1 if j == 2 + i else 1 for j in range(place.ndim)]
        start = jnp.asarray(bounds(sizes[i], outs[i])[0].reshape(beside), jnp.int32)
        at = at + (start + place % longest) * step
        place, step = place // longest, step * sizes[i]
    return at
