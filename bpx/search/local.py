"""Random local search, also called stochastic hill climbing: a step is taken if it is downhill.

    x' = x + scale z;   x <- x' if f(x') < f(x)
    after `patience` candidates without a step, x <- x_0 + spread z, whatever its value

Source: Matyas 1965, "Random optimization", Automation and Remote Control 26(2); restarts: Boender,
Rinnooy Kan 1987, "Bayesian stopping rules for multistart global optimization methods", Math. Progr.
37.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from bpx.search._method import Method, State

Array = NDArray[Any]


@dataclass(frozen=True)
class LocalSearch(Method):
    """Options: as `Method`, scale 0.1, and

    patience     candidates in a row without a step before a restart; 0 does not restart
    spread       scale of the draw around the start that a restart begins from
    """

    NAME: ClassVar[str] = "local_search"

    scale: float = 0.1
    patience: int = 0
    spread: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.whole("patience", 0)
        self.positive("spread")

    def _restarts(self, since: int) -> bool:
        return bool(self.patience) and since >= self.patience

    def candidate(self, s: State, z: Array) -> Array:
        if self._restarts(s.since):
            return s.start + self.spread * z
        return s.x + self.scale * z

    def takes(self, s: State, value: float, u: float) -> bool:
        # since counts this candidate already
        return self._restarts(s.since - 1) or value < s.value
