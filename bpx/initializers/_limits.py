"""The checks that several initializers share. Each names the entry and shows the value."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from bpx.spec import Options, require


def finite(entry: str, options: Options, *names: str) -> None:
    """Raise unless each named option is one finite real number."""
    for name in names:
        value: Any = options[name]
        known = isinstance(value, Real) and math.isfinite(value)
        require(known, f"{entry}: {name} is {value!r}, expected a finite number")


def non_negative(entry: str, options: Options, *names: str) -> None:
    """Raise unless each named option is a finite number at least 0."""
    finite(entry, options, *names)
    for name in names:
        value = options[name]
        require(value >= 0, f"{entry}: {name} is {value!r}, expected a number at least 0")
