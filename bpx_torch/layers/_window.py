"""What the pools of PyTorch share: giving a window's gradient to one element or to all."""

import math

import torch
import torch.nn.functional as F

from bpx_torch._dtype import at_least_float32


def give(dy, at, x):
    """Each element of dy (B C *O) added to the place `at` of the flattened spatial axes of x."""
    flat = (*x.shape[:2], math.prod(x.shape[2:]))
    dx = at_least_float32(dy).new_zeros(flat)
    return dx.scatter_add(2, at.flatten(2), at_least_float32(dy).flatten(2)).reshape(x.shape)


def take(x, at):
    """x at the places of the flattened spatial axes: the transpose of `give`."""
    return x.flatten(2).gather(2, at.flatten(2)).reshape(at.shape)


def windows(n, kernel_size, stride, padding):
    """kernel_size, stride and padding, each with one number for each of n axes."""
    stride = kernel_size if stride is None else stride
    each = (kernel_size, stride, padding)
    return tuple(v if isinstance(v, tuple) else (v,) * n for v in each)


def counted(y, axis, size, k, stride, pad, with_padding):
    """How many positions each window has along one axis, beside y (B C *O)."""
    low, high = (-pad, size + pad) if with_padding else (0, size)
    starts = [o * stride - pad for o in range(y.shape[axis])]
    counts = [min(a + k, high) - max(a, low) for a in starts]
    if len(set(counts)) <= 1:
        return counts[0] if counts else 1
    beside = [-1 if i == axis else 1 for i in range(y.ndim)]
    return torch.tensor(counts, dtype=y.dtype, device=y.device).reshape(beside)


def spread(g, axis, size, k, stride, pad):
    """Each element of g added to every position of its window along one axis.

    In blocks of `stride` positions: the first `stride` positions of window o are block o, the next
    are block o + 1, and so on, which takes one addition for each part of a window, not for each of
    its positions.
    """
    g = g.movedim(axis, -1)
    out, parts = g.shape[-1], -(-k // stride)
    blocks = g.new_zeros((*g.shape[:-1], out + parts - 1, stride))
    for j in range(parts):
        width = min(stride, k - j * stride)
        blocks[..., j : j + out, :width] += g.unsqueeze(-1)
    whole = blocks.flatten(-2)
    end = pad + size
    dx = F.pad(whole, (0, max(end - whole.shape[-1], 0)))[..., pad:end]
    return dx.movedim(-1, axis)
