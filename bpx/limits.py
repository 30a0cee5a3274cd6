"""What schedules and transforms say of an option outside its limits."""

from __future__ import annotations

import itertools
import math
from numbers import Integral, Real
from typing import Any

from bpx.spec import Options, require


def finite(entry: str, options: Options, *names: str) -> None:
    """Raise unless each option is one finite number."""
    for name in names:
        value = options[name]
        good = isinstance(value, Real) and math.isfinite(value)
        require(good, f"{entry}: {name} is {value!r}, expected a finite number")


def above_zero(entry: str, options: Options, *names: str) -> None:
    """Raise unless each option is one finite number above 0."""
    finite(entry, options, *names)
    for name in names:
        require(
            options[name] > 0, f"{entry}: {name} is {options[name]!r}, expected a number above 0"
        )


def non_negative(entry: str, options: Options, *names: str) -> None:
    """Raise unless each option is one finite number of at least 0."""
    finite(entry, options, *names)
    for name in names:
        require(
            options[name] >= 0,
            f"{entry}: {name} is {options[name]!r}, expected a number at least 0",
        )


def share(entry: str, options: Options, *names: str) -> None:
    """Raise unless each option is one number in [0, 1]."""
    for name in names:
        value = options[name]
        good = isinstance(value, Real) and 0 <= float(value) <= 1
        require(good, f"{entry}: {name} is {value!r}, expected a number in [0, 1]")


def count(entry: str, options: Options, *names: str, least: int = 1) -> None:
    """Raise unless each option is one integer of at least `least`."""
    for name in names:
        require(
            _integer(options[name]) and options[name] >= least,
            f"{entry}: {name} is {options[name]!r}, expected an integer at least {least}",
        )


def increasing(entry: str, name: str, values: Any, strictly: bool = True) -> None:
    """Raise unless an option is a sequence of integers of at least 0 that do not decrease."""
    good = isinstance(values, (tuple, list)) and all(_integer(v) and v >= 0 for v in values)
    order = good and all(a < b or (a == b and not strictly) for a, b in itertools.pairwise(values))
    word = "increasing" if strictly else "ordered"
    require(order, f"{entry}: {name} is {values!r}, expected {word} integers at least 0")


def _integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
