"""Resizing one axis, and its transpose, for PyTorch."""

import numpy as np
import torch

from bpx.layers._resize import linear as linear
from bpx.layers._resize import nearest, output_sizes, scales


def each_axis(x, size, scale_factor):
    """(axis, its size, its size in the output, its scale factor or None) of every spatial axis."""
    o, sizes = {"size": size, "scale_factor": scale_factor}, tuple(x.shape[2:])
    outs, factors = output_sizes(sizes, o), scales(o, len(sizes))
    return list(zip(range(2, x.ndim), sizes, outs, factors, strict=True))


def copies(x, s, out, scale, exact):
    """Which element each output copies, computed in the dtype of x, in float32 at least."""
    return nearest(s, out, scale, exact, np.float64 if x.dtype == torch.float64 else np.float32)


def copied(x, axis, index):
    return x.index_select(axis, torch.tensor(index.tolist(), device=x.device))


def weighted(x, axis, index, weight):
    """sum_l weight[o, l] x[index[o, l]] along an axis, for index and weight (O, L)."""
    seen = copied(x, axis, index.ravel()).unflatten(axis, index.shape)
    beside = [1] * seen.ndim
    beside[axis : axis + 2] = weight.shape
    w = torch.tensor(weight.tolist(), dtype=x.dtype, device=x.device)
    return (seen * w.reshape(beside)).sum(axis + 1)


def transpose(low, high, t, size):
    """(index, weight) of the transpose of y[i] = (1 - t) x[low] + t x[high]. low and high do not
    fall, so that the outputs that look at one element lie in a row."""
    p = np.arange(size)
    first, end = np.searchsorted(high, p, "left"), np.searchsorted(low, p, "right")
    index = first[:, None] + np.arange(max(int((end - first).max()), 1))
    inside = index < end[:, None]
    index = np.minimum(index, len(low) - 1)
    p = p[:, None]
    weight = np.where(low[index] == p, 1 - t[index], 0.0)
    weight += np.where(high[index] == p, t[index], 0.0)
    return index, np.where(inside, weight, 0.0)
