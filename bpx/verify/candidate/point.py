"""One call of a rule: arrays, options, a dtype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

GENERIC = "vjp"  # the family of generic points
SLOW = 4000  # elements


@dataclass(frozen=True)
class Point:
    """One call. `family` is the check it belongs to; `kink` marks points where the convention of
    the reference counts and calculus does not apply."""

    family: str
    name: str
    arrays: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float64"
    kink: bool = False
    empty: bool = False
    sizes: Mapping[str, Any] = field(default_factory=dict)  # where one of them is long
    gross: float = 0.0  # of the largest element: allowed where only what is far off is looked for

    @property
    def size(self) -> int:
        """Elements of all arrays."""
        return sum(int(np.size(a)) for a in self.arrays)

    @property
    def long(self) -> bool:
        """Whether a call may take a while."""
        return self.size > SLOW
