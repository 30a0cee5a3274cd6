"""Sliding windows along the axes behind batch and channels: option checks, sizes, positions.

Window o of an axis looks at the positions o stride - padding + i dilation, i = 0 ... kernel_size -
1; those outside 0 ... S - 1 are padding. With ceil_mode the last window may reach beyond the
padding, as long as it begins inside of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Options, require


def per_axis(value: Any, n: int) -> tuple[int, ...]:
    """One number for each of n axes, from a number for all of them or a tuple."""
    return value if isinstance(value, tuple) else (value,) * n


def check_sizes(entry: str, dims: Dims) -> int:
    """Raise unless there are 1 to 3 axes, none of them empty. Returns how many there are."""
    sizes = dims["S"]
    require(
        1 <= len(sizes) <= 3 and min(sizes) > 0 and dims["C"] > 0,
        f"{entry}: x has sizes {sizes} behind {dims['C']} channels, expected 1 to 3 of them, and "
        "every size and the channels at least 1",
    )
    return len(sizes)


def check_numbers(entry: str, option: str, value: object, n: int, low: int) -> None:
    """Raise unless an option is an integer or a tuple of n of them, each at least `low`."""
    found = value if isinstance(value, tuple) else (value,) * n
    require(
        len(found) == n and all(type(v) is int and v >= low for v in found),
        f"{entry}: {option} is {value!r}, expected an integer of at least {low}, or {n} of them",
    )


def check_flag(entry: str, option: str, value: object) -> None:
    require(
        isinstance(value, bool), f"{entry}: {option} is {value!r}, expected one of [True, False]"
    )


def check_window(entry: str, dims: Dims, o: Options) -> None:
    """Check the options of a window, and add the sizes of the output to dims as O."""
    n = check_sizes(entry, dims)
    check_numbers(entry, "kernel_size", o["kernel_size"], n, 1)
    check_numbers(entry, "padding", o["padding"], n, 0)
    if o["stride"] is not None:
        check_numbers(entry, "stride", o["stride"], n, 1)
    check_numbers(entry, "dilation", o.get("dilation", 1), n, 1)
    check_flag(entry, "ceil_mode", o["ceil_mode"])
    sizes = []
    for axis, (s, (k, step, pad, d)) in enumerate(zip(dims["S"], window(o, n), strict=True)):
        reach = d * (k - 1) + 1
        require(
            pad <= k // 2,
            f"{entry}: padding is {o['padding']}, expected at most half of the kernel_size {k} "
            f"along spatial axis {axis}",
        )
        require(
            d <= s or not pad,
            f"{entry}: dilation is {o['dilation'] if 'dilation' in o else 1}, expected at most "
            f"the size {s} of spatial axis {axis}, since a padded window could hold no element",
        )
        out = out_size(s, k, step, pad, d, o["ceil_mode"])
        require(
            out > 0,
            f"{entry}: kernel_size is {o['kernel_size']}, expected a window of at most the {s} "
            f"elements and 2 x {pad} of padding along spatial axis {axis}; it has {reach}",
        )
        sizes.append(out)
    dims["O"] = tuple(sizes)


def window(o: Options, n: int) -> tuple[tuple[int, int, int, int], ...]:
    """(kernel_size, stride, padding, dilation) of each of n axes."""
    k = per_axis(o["kernel_size"], n)
    stride = k if o["stride"] is None else per_axis(o["stride"], n)
    padding, dilation = per_axis(o["padding"], n), per_axis(o.get("dilation", 1), n)
    return tuple(zip(k, stride, padding, dilation, strict=True))


def out_size(s: int, k: int, stride: int, pad: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows an axis of s elements has."""
    room = s + 2 * pad - dilation * (k - 1) - 1
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= s + pad:
        out -= 1
    return out


def out_sizes(sizes: tuple[int, ...], o: Options) -> tuple[int, ...]:
    each = zip(sizes, window(o, len(sizes)), strict=True)
    return tuple(out_size(s, *w, o["ceil_mode"]) for s, w in each)


def looks(x: Any, o: Options) -> Iterator[tuple[Any, Any]]:
    """For each place i in the window, in row-major order: the index of x that gives what every
    window sees there, and where that is no padding."""
    sizes = x.shape[2:]
    windows = window(o, len(sizes))
    starts = [
        np.arange(out) * w[1] - w[2] for out, w in zip(out_sizes(sizes, o), windows, strict=True)
    ]
    for place in product(*(range(w[0]) for w in windows)):
        at = [a + i * w[3] for a, i, w in zip(starts, place, windows, strict=True)]
        inside = [(a >= 0) & (a < s) for a, s in zip(at, sizes, strict=True)]
        near = [np.clip(a, 0, s - 1) for a, s in zip(at, sizes, strict=True)]
        seen = np.logical_and.reduce(np.meshgrid(*inside, indexing="ij"))
        yield (slice(None), slice(None), *np.ix_(*near)), seen
