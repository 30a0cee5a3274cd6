"""Lengths of windows whose number is given."""

import torch


def lengths(y, axis, size, out):
    """How many of `size` elements each of `out` windows along an axis has, beside y."""
    found = [-(-(o + 1) * size // out) - o * size // out for o in range(out)]
    if len(set(found)) == 1:
        return found[0]
    beside = [-1 if i == axis else 1 for i in range(y.ndim)]
    return torch.tensor(found, dtype=y.dtype, device=y.device).reshape(beside)
