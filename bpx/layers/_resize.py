"""Sizes and source positions of resizing, one axis after the other behind batch and channels."""

from __future__ import annotations

from math import inf
from numbers import Real
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._window import check_numbers, check_sizes, per_axis
from bpx.spec import Options, require


def scales(o: Options, n: int) -> tuple[Any, ...]:
    """The scale factor of each of n axes, None where the size was given."""
    return (None,) * n if o["size"] is not None else per_axis(o["scale_factor"], n)


def output_sizes(sizes: tuple[int, ...], o: Options) -> tuple[int, ...]:
    if o["size"] is not None:
        return per_axis(o["size"], len(sizes))
    each = zip(sizes, scales(o, len(sizes)), strict=True)
    return tuple(int(s * f) for s, f in each)


def check_resize(entry: str, dims: Dims, o: Options) -> None:
    """Check size and scale_factor, and add the sizes of the output to dims as O."""
    n = check_sizes(entry, dims)
    if o["size"] is not None:
        check_numbers(entry, "size", o["size"], n, 1)
    else:
        f = o["scale_factor"]
        each = f if isinstance(f, tuple) else (f,) * n
        require(
            len(each) == n and all(isinstance(v, Real) and 0 < float(v) < inf for v in each),
            f"{entry}: scale_factor is {f!r}, expected a number above 0, or {n} of them, or a size",
        )
    out = output_sizes(dims["S"], o)
    require(
        min(out) > 0,
        f"{entry}: scale_factor is {o['scale_factor']!r}, expected at least one element of each "
        f"size {dims['S']} to be left",
    )
    dims["O"] = out


def nearest(s: int, out: int, scale: Any, exact: bool, real: Any = np.float64) -> Any:
    """Which of s elements each of out elements copies. Computed in `real` and rounded to float32
    where torch does, since this decides for a place that is close to two elements."""
    i = np.arange(out).astype(real)
    step = real(s) / real(out) if scale is None else real(1.0 / scale)
    if exact:
        # one rounding of the product and the difference, as a fused multiply-add has it
        middle = (np.float64(step) * (i.astype(np.float64) + 0.5) - 0.5).astype(real)
        place = np.maximum(middle, 0.0).astype(np.float64) + 0.5
    else:
        place = i * step
    return np.minimum(np.floor(place.astype(np.float32)).astype(np.int64), s - 1)


def linear(s: int, out: int, scale: Any, align_corners: bool) -> tuple[Any, Any, Any]:
    """(low, high, t): each of out elements is (1 - t) x[low] + t x[high]."""
    i = np.arange(out)
    if align_corners:
        place = i * ((s - 1) / (out - 1) if out > 1 else 0.0)
    else:
        step = s / out if scale is None else 1.0 / scale
        place = np.maximum((i + 0.5) * step - 0.5, 0.0)
    low = np.minimum(np.floor(place).astype(np.int64), s - 1)
    return low, np.minimum(low + 1, s - 1), np.clip(place - low, 0.0, 1.0)
