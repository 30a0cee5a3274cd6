"""What the pools of JAX share: windows, and giving a window's gradient to one element."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from bpx.layers._window import out_sizes, window

NOWHERE = np.iinfo(np.int32).max
FEW = 16  # positions of a window up to which XLA is faster with them one by one, in one fused loop


def geometry(x, options):
    """The keywords of lax.reduce_window for windows over the axes behind B and C."""
    sizes = x.shape[2:]
    windows = window(options, len(sizes))
    padding = []
    for s, out, (k, stride, pad, dilation) in zip(
        sizes, out_sizes(sizes, options), windows, strict=True
    ):
        end = (out - 1) * stride + dilation * (k - 1) + 1 - pad
        padding.append((pad, max(end - s, 0)))
    return {
        "window_dimensions": (1, 1, *(w[0] for w in windows)),
        "window_strides": (1, 1, *(w[1] for w in windows)),
        "padding": ((0, 0), (0, 0), *padding),
        "window_dilation": (1, 1, *(w[3] for w in windows)),
    }


def first_maxima(x, options):
    """Where each window has its first maximum, or its last NaN, along the flattened spatial axes.
    JAX has no derivative for this, nor is there one: x is a constant here."""
    x = jax.lax.stop_gradient(x)
    sizes = x.shape[2:]
    at = jnp.arange(math.prod(sizes), dtype=jnp.int32).reshape((1, 1, *sizes))

    def better(one, other):
        (v, i), (w, j) = one, other
        nan_v, nan_w = v != v, w != w
        first = (v > w) | ((v == w) & (i < j))
        keep = jnp.where(nan_v | nan_w, nan_v & (~nan_w | (i > j)), first)
        return jnp.where(keep, v, w), jnp.where(keep, i, j)

    return jax.lax.reduce_window(
        (x, jnp.broadcast_to(at, x.shape)),
        (np.array(-np.inf, x.dtype), np.array(NOWHERE, np.int32)),
        better,
        **geometry(x, options),
    )[1]


def dilated_maxima(x, options):
    """The maxima of dilated windows, one axis after another, of its slices."""
    how = geometry(x, options)
    sizes = out_sizes(x.shape[2:], options)
    y = jnp.pad(x, how["padding"], constant_values=-jnp.inf)
    for axis, out in enumerate(sizes, 2):
        stride, dilation = how["window_strides"][axis], how["window_dilation"][axis]
        end = (out - 1) * stride + 1
        steps = range(0, how["window_dimensions"][axis] * dilation, dilation)
        looks = [jax.lax.slice_in_dim(y, i, i + end, stride, axis) for i in steps]
        y = functools.reduce(jnp.maximum, looks)
    return y


def give(dy, at, x):
    """Each element of dy (B C *O) added to the place `at` of the flattened spatial axes of x."""
    rows, n = math.prod(x.shape[:2]), math.prod(x.shape[2:])
    windows = math.prod(dy.shape[2:])
    dx = jnp.zeros((rows, n), dy.dtype)
    row = jnp.arange(rows, dtype=jnp.int32).reshape(rows, 1)
    dx = dx.at[row, at.reshape(rows, windows)].add(dy.reshape(rows, windows), mode="drop")
    return dx.reshape(x.shape)


def counted(sizes, options):
    """How many positions each window has, (*O), within x and its padding or within x alone."""
    each = zip(sizes, out_sizes(sizes, options), window(options, len(sizes)), strict=True)
    total = np.ones((), np.int64)
    for s, out, (k, stride, pad, _) in each:
        low, high = (-pad, s + pad) if options["count_include_pad"] else (0, s)
        starts = np.arange(out) * stride - pad
        total = total[..., None] * (np.minimum(starts + k, high) - np.maximum(starts, low))
    return total


def apart(options, n):
    """Whether the windows along all n axes lie side by side and begin with x."""
    return all(k == stride and pad == 0 for k, stride, pad, _ in window(options, n))


def added(x, options):
    """The sum of every window of x (B C *S), (B C *O)."""
    how = geometry(x, options)
    size, stride = how["window_dimensions"], how["window_strides"]
    if math.prod(size) > FEW:
        return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, **how)
    outs = (*x.shape[:2], *out_sizes(x.shape[2:], options))
    x = jnp.pad(x, how["padding"])
    return sum(
        jax.lax.slice(
            x, at, [a + (o - 1) * s + 1 for a, o, s in zip(at, outs, stride, strict=True)], stride
        )
        for at in itertools.product(*map(range, size))
    )


def spread(g, sizes, options):
    """The sum of g (B C *O) over the windows that hold each position."""
    windows = window(options, len(sizes))
    if apart(options, len(sizes)):  # every position is in one window, or in none
        for axis, (s, (k, *_)) in enumerate(zip(sizes, windows, strict=True), 2):
            g = jnp.repeat(g, k, axis)[(slice(None),) * axis + (slice(s),)]
            tail = [(0, 0)] * g.ndim
            tail[axis] = (0, s - g.shape[axis])
            g = jnp.pad(g, tail)
        return g
    # g with stride - 1 zeros between its elements, under windows that move by one
    steps = [1, 1, *(w[1] for w in windows)]
    if math.prod(w[0] for w in windows) <= FEW:
        total = 0
        for at in itertools.product(*(range(k) for k, *_ in windows)):
            edges = []
            for i, size, o, (_, step, pad, _) in zip(at, sizes, g.shape[2:], windows, strict=True):
                edges.append((i - pad, size - (o - 1) * step - 1 - (i - pad), step - 1))
            total += jax.lax.pad(g, np.zeros((), g.dtype), [(0, 0, 0), (0, 0, 0), *edges])
        return total
    padding = []
    for s, out, (k, stride, pad, _) in zip(sizes, g.shape[2:], windows, strict=True):
        padding.append((k - 1 - pad, s + pad - (out - 1) * stride - 1))
    return jax.lax.reduce_window(
        g,
        np.zeros((), g.dtype),
        jax.lax.add,
        window_dimensions=(1, 1, *(w[0] for w in windows)),
        window_strides=(1,) * g.ndim,
        padding=((0, 0), (0, 0), *padding),
        base_dilation=steps,
    )
