"""Random search: candidates scattered around the start, each without regard to the others.

    x' = x_0 + scale z
    the best one is kept

Source: Brooks 1958, "A discussion of random methods for seeking maxima", Operations Research 6(2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from bpx.search._method import Method, State

Array = NDArray[Any]


@dataclass(frozen=True)
class RandomSearch(Method):
    """Options: as `Method`.

    >>> found = RandomSearch(500).run(lambda p: float((p - 0.5) ** 2), np.zeros(()), 0)
    >>> abs(float(found.params) - 0.5) < 0.01
    True
    """

    NAME: ClassVar[str] = "random_search"

    def candidate(self, s: State, z: Array) -> Array:
        return s.start + self.scale * z

    def takes(self, s: State, value: float, u: float) -> bool:
        return value < s.value
