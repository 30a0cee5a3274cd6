"""Options of the convolutions: one value for each spatial axis, their checks, and the windows."""

from __future__ import annotations

from typing import Any

from bpx.spec import Options, require

Ints = tuple[int, ...]


def per_axis(value: Any, n: int) -> Any:
    """An option that is one value for all axes or a tuple of one for each, as a tuple."""
    return value if isinstance(value, tuple) else (value,) * n


def whole(entry: str, option: str, value: Any, n: int, least: int) -> None:
    """Raise unless an option is an integer of at least `least`, or a tuple of n of them."""
    values = per_axis(value, n)
    good = len(values) == n and all(
        hasattr(v, "__index__") and not isinstance(v, bool) and v >= least for v in values
    )
    require(
        good,
        f"{entry}: {option} is {value!r}, expected an integer of at least {least}, or a tuple of "
        f"{n} of them",
    )


def check_axes(entry: str, dims: Options, o: Options) -> None:
    """Raise unless x and weight have the same 1 to 3 spatial axes, and groups is an integer."""
    n, kernel = len(dims["S"]), dims["W"]
    require(1 <= n <= 3, f"{entry}: x has {n} spatial axes, expected 1, 2 or 3 after (B C)")
    require(
        len(kernel) == n,
        f"{entry}: weight has {len(kernel)} kernel axes, expected {n}, as many spatial axes as x",
    )
    channels = {name: dims[name] for name in "CKO" if name in dims}
    require(
        min(channels.values()) > 0,
        f"{entry}: x and weight have channels {channels}, expected at least one of each",
    )
    require(min(kernel) > 0, f"{entry}: weight has kernel {tuple(kernel)}, expected no empty axis")
    require(min(dims["S"]) > 0, f"{entry}: x has sizes {tuple(dims['S'])}, expected no empty axis")
    whole(entry, "stride", o["stride"], n, 1)
    whole(entry, "dilation", o["dilation"], n, 1)
    whole(entry, "groups", o["groups"], 1, 1)
    require(
        not isinstance(o["groups"], tuple),
        f"{entry}: groups is {o['groups']!r}, expected an integer",
    )


def reach(kernel: Ints, dilation: Ints) -> Ints:
    """Elements from the first to the last that one window touches."""
    return tuple(d * (w - 1) + 1 for w, d in zip(kernel, dilation, strict=True))


def window(offset: Ints, count: Ints, stride: Ints, dilation: Ints) -> Any:
    """Index of the elements that meet one kernel offset, one for each of `count` windows."""
    parts = (
        slice(o * d, o * d + s * (c - 1) + 1, s)
        for o, c, s, d in zip(offset, count, stride, dilation, strict=True)
    )
    return (..., *parts)
