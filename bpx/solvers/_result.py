"""How a solver ended, and the checks of its options. Both are for the three trees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from bpx.spec import Options, require

OUTCOMES = (
    "converged",
    "small change",
    "line search failed",
    "max iterations",
    "max evaluations",
    "non-finite",
)


@dataclass(frozen=True)
class Result:
    """Where a solver ended, and why.

    x            the last point, always a finite one unless the first was not; in PyTorch the
                 parameters themselves
    value        the function there; half the sum of squared residuals for least squares
    gradient     its largest partial derivative, as an absolute value
    iterations   directions taken
    evaluations  of the function, each with its gradient
    matrices     Hessians or Jacobians formed
    outcome      one of OUTCOMES:
        converged           gradient <= tolerance_grad
        small change        the step, the decrease or the slope is within tolerance_change, or the
                            step within the rounding of x
        line search failed  no point along the direction is lower; for levenberg_marquardt: a
                            damping that leaves no more than a small change has no lower point
        max iterations      max_iter directions were taken
        max evaluations     max_eval evaluations were made
        non-finite          a value or a derivative is infinite or NaN
    """

    x: Any
    value: float
    gradient: float
    iterations: int
    evaluations: int
    matrices: int
    outcome: str

    @property
    def converged(self) -> bool:
        return self.outcome == "converged"


def whole(entry: str, options: Options, *names: str, low: int = 1) -> None:
    """Raise unless each named option is an integer at least `low`."""
    for name in names:
        value = options[name]
        boolean = value is True or value is False  # which Python counts among the integers
        known = not boolean and isinstance(value, Integral) and int(value) >= low
        require(known, f"{entry}: {name} is {value!r}, expected an integer at least {low}")


def at_least_zero(entry: str, options: Options, *names: str) -> None:
    """Raise unless each named option is a finite number at least 0."""
    for name in names:
        value = options[name]
        known = isinstance(value, Real) and 0 <= float(value) < math.inf
        require(known, f"{entry}: {name} is {value!r}, expected a finite number at least 0")


def positive(entry: str, options: Options, *names: str) -> None:
    """Raise unless each named option is a finite number above 0."""
    for name in names:
        value = options[name]
        known = isinstance(value, Real) and 0 < float(value) < math.inf
        require(known, f"{entry}: {name} is {value!r}, expected a finite number above 0")


def check(entry: str, options: Options) -> None:
    """Raise SpecError unless the options that solvers share are within their limits."""
    o = options
    whole(entry, o, "max_iter")
    if o.get("max_eval") is not None:
        whole(entry, o, "max_eval")
    at_least_zero(entry, o, "tolerance_grad", "tolerance_change")
    if "lr" in o:
        positive(entry, o, "lr")
    whole(entry, o, *(name for name in ("history_size", "chunk_size") if name in o))
    if "damping" in o:
        at_least_zero(entry, o, "damping")
    if "tau" in o:
        positive(entry, o, "tau")
    if "line_search_fn" in o:
        searches = (None, "strong_wolfe")
        require(
            o["line_search_fn"] in searches,
            f"{entry}: line_search_fn is {o['line_search_fn']!r}, expected one of {list(searches)}",
        )


def check_start(entry: str, shape: tuple[int, ...], floating: bool, dtype: Any) -> None:
    """Raise unless x0 is a vector of real floating numbers."""
    require(len(shape) == 1, f"{entry}: x0 has shape {shape}, expected one dimension")
    require(floating, f"{entry}: x0 has dtype {dtype}, expected a real floating one")


def check_shape(entry: str, what: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise unless what a caller's function returned has the expected shape."""
    require(shape == expected, f"{entry}: {what} has shape {shape}, expected {expected}")
