"""Resizing one axis, and its transpose, for JAX."""

import jax.numpy as jnp
import numpy as np

from bpx.layers._resize import linear as linear
from bpx.layers._resize import nearest, output_sizes, scales


def each_axis(x, size, scale_factor):
    """(axis, its size, its size in the output, its scale factor or None) of every spatial axis."""
    o, sizes = {"size": size, "scale_factor": scale_factor}, x.shape[2:]
    outs, factors = output_sizes(sizes, o), scales(o, len(sizes))
    return list(zip(range(2, x.ndim), sizes, outs, factors, strict=True))


def copies(x, s, out, scale, exact):
    """Which element each output copies, computed in the dtype of x, in float32 at least."""
    return nearest(s, out, scale, exact, np.float64 if x.dtype == jnp.float64 else np.float32)


def copied(x, axis, index):
    return jnp.take(x, np.asarray(index, np.int32), axis, mode="clip")


def weighted(x, axis, index, weight):
    """sum_l weight[o, l] x[index[o, l]] along an axis, for index and weight (O, L)."""
    seen = copied(x, axis, index)
    beside = [1] * seen.ndim
    beside[axis : axis + 2] = weight.shape
    return (seen * jnp.asarray(weight.reshape(beside), x.dtype)).sum(axis + 1)


def transpose(low, high, t, size):
    """(index, weight) of the transpose of y[i] = (1 - t) x[low] + t x[high]: for each element the
    outputs that look at it, the few of them filled up with weights of 0."""
    looks = [np.flatnonzero((low == p) | (high == p)) for p in range(size)]
    index = np.zeros((size, max(1, *map(len, looks))), np.int32)
    weight = np.zeros(index.shape)
    for p, found in enumerate(looks):
        index[p, : len(found)] = found
        shares = (low[found] == p) * (1 - t[found]) + (high[found] == p) * t[found]
        weight[p, : len(found)] = shares
    return index, weight
