"""The places that pools and resizing look at, as the native core reads them: three axes, the front
ones of size 1 where there are fewer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bpx.layers._window import out_size, per_axis, window
from bpx.spec import Options

Axes = list[tuple[int, int, int, int, int, int]]  # length, outputs, size, stride, padding, dilation


def given(sizes: Sequence[int], options: Options) -> Axes:
    """Windows of a given kernel_size, stride, padding and dilation, with ceil_mode."""
    axes: Axes = [(1, 1, 1, 1, 0, 1)] * (3 - len(sizes))
    for s, each in zip(sizes, window(options, len(sizes)), strict=True):
        axes.append((s, out_size(s, *each, options["ceil_mode"]), *each))
    return axes


def adaptive(sizes: Sequence[int], output_size: Any) -> Axes:
    """A given number of windows; size 0 says so."""
    outs = per_axis(output_size, len(sizes))
    axes: Axes = [(1, 1, 0, 1, 0, 1)] * (3 - len(sizes))
    return axes + [(s, s if o is None else o, 0, 1, 0, 1) for s, o in zip(sizes, outs, strict=True)]


def outputs(axes: Axes, n: int) -> tuple[int, ...]:
    """The sizes of the output along n axes."""
    return tuple(axis[1] for axis in axes[3 - n :])


def flat(planes: Sequence[int], axes: Axes, *more: int) -> tuple[int, ...]:
    """The sizes of a call: the number of planes, the axes, and what else there is."""
    return (math.prod(planes), *(number for axis in axes for number in axis), *more)


def resized(
    shape: Sequence[int], size: Any, scale_factor: Any, flag: int
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]:
    """(sizes of y, the sizes and the numbers of a call) for x (B C *S)."""
    n, spatial = len(shape) - 2, shape[2:]
    if size is not None:
        outs: tuple[int, ...] = per_axis(size, n)
        scales: tuple[float, ...] = (0.0,) * n
    else:
        scales = per_axis(scale_factor, n)
        outs = tuple(int(s * f) for s, f in zip(spatial, scales, strict=True))
    axes = [1, 1] * (3 - n)
    for s, out in zip(spatial, outs, strict=True):
        axes += [s, out]
    numbers = (*[0.0] * (3 - n), *(float(f) for f in scales))
    return (*shape[:2], *outs), (shape[0] * shape[1], n, *axes, flag), numbers
