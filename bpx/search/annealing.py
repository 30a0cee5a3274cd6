"""Simulated annealing: uphill steps are taken too, the fewer the colder it is.

    x' = x + scale z
    x <- x'      with probability min(1, exp(-(f(x') - f(x)) / T))

The temperature falls over `length` candidates, k = 0, 1, ... length - 1, from T_0 = temperature:

    geometric     T_k = T_0 (final / T_0)^(k / (length - 1))
    linear        T_k = T_0 (1 - k / (length - 1)) + final k / (length - 1)
    logarithmic   T_k = T_0 log 2 / log(k + 2)
    cauchy        T_k = T_0 / (k + 1)

and `restarts` times again after that, from the best point so far or from the start. Cauchy's is
fast annealing, which belongs with noise="cauchy". Logarithmic cooling is what the proof of
convergence takes; it is slow.

Source: Kirkpatrick, Gelatt, Vecchi 1983, "Optimization by simulated annealing", Science 220;
logarithmic: Geman, Geman 1984, IEEE Trans. PAMI 6(6), theorem B; cauchy: Szu, Hartley 1987, "Fast
simulated annealing", Physics Letters A 122.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from bpx.search._method import Method, State
from bpx.spec import one_of, require

Array = NDArray[Any]
COOLINGS = ("geometric", "linear", "logarithmic", "cauchy")
STARTS = ("best", "start")


@dataclass(frozen=True)
class Annealing(Method):
    """Options: as `Method`, and

    temperature  the first one, in units of f: about the size of the hills to be crossed
    final        the last one of geometric and linear cooling
    cooling      one of COOLINGS
    restarts     how often it is heated up again; the budget is shared out evenly
    restart_from "best" or "start"

    >>> ripples = lambda p: float((p * p - 3 * np.cos(6 * p)).sum())
    >>> found = Annealing(2000, temperature=3.0).run(ripples, np.array([4.0, -4.0]), 0)
    >>> bool(abs(found.params).max() < 0.1)
    True
    """

    NAME: ClassVar[str] = "annealing"

    temperature: float = 1.0
    final: float = 1e-3
    cooling: str = "geometric"
    restarts: int = 0
    restart_from: str = "best"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("temperature")
        self.positive("final")
        self.whole("restarts", 0)
        one_of(self.NAME, "cooling", self.cooling, COOLINGS)
        one_of(self.NAME, "restart_from", self.restart_from, STARTS)
        require(
            self.restarts < self.evaluations,
            f"{self.NAME}: restarts is {self.restarts}, expected fewer than the "
            f"{self.evaluations} evaluations",
        )

    @property
    def length(self) -> int:
        """Candidates of one cooling."""
        return max(1, math.ceil((self.evaluations - 1) / (self.restarts + 1)))

    def at(self, k: int) -> float:
        """The temperature of candidate k = 0, 1, ... of a cooling."""
        t, share = self.temperature, k / max(1, self.length - 1)
        if self.cooling == "geometric":
            return float(t * (self.final / t) ** share)
        if self.cooling == "linear":
            return t * (1 - share) + self.final * share
        if self.cooling == "logarithmic":
            return t * math.log(2) / math.log(k + 2)
        return t / (k + 1)

    def ready(self, s: State) -> None:
        k = s.evaluations - 1
        if k and k % self.length == 0:
            s.x, s.value = s.best, s.best_value
            if self.restart_from == "start":
                # its value is not evaluated again: the first candidate is taken whatever it is
                s.x, s.value = s.start, math.inf

    def candidate(self, s: State, z: Array) -> Array:
        return s.x + self.scale * z

    def takes(self, s: State, value: float, u: float) -> bool:
        if value <= s.value:
            return True
        # this candidate is counted already: the first one after the start has evaluations 2
        t = self.at((s.evaluations - 2) % self.length)
        return u < math.exp(-(value - s.value) / t)
