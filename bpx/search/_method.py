"""What the methods share: the budget, the draws, the state, the result.

Candidate number n (1, 2, ...; number 0 is the start) is made of row r of block b, where
n - 1 = b R + r and R = min(512, max(1, 2^16 / size)) rows make a block, from one key:

    z = normal or uniform of fold_in(key, 2 b), float64 (R, size)            the move
    u = uniform of fold_in(key, 2 b + 1), float64 (R,)                       the decision

so a state needs no generator: it goes on from the number of evaluations. "uniform" is in [-1, 1);
"cauchy" is tan(pi z / 2) of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bpx import random
from bpx.search._tree import flatten
from bpx.spec import one_of, require

Array = NDArray[Any]
Function = Callable[[Any], Any]
NOISES = ("normal", "uniform", "cauchy")


@dataclass
class State:
    """Everything the next evaluation depends on, besides the method's options. A search changes a
    copy of its own; arrays are never changed in place.

    key          uint32 (2,)
    start        where the search began, (n)
    x, value     where it is
    best, best_value
    evaluations  made so far, the start's included
    accepted     moves taken
    since        evaluations since the last move was taken, or since a restart
    non_finite   evaluations that were infinite or NaN; they count as worse than any number
    """

    key: Array
    start: Array
    x: Array
    value: float
    best: Array
    best_value: float
    evaluations: int
    accepted: int
    since: int
    non_finite: int

    def arrays(self) -> dict[str, Array]:
        """As arrays by name, to be stored."""
        return {f.name: np.array(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> State:
        """What `arrays` gave. Raises SpecError where one is missing or of another shape."""
        given: dict[str, Any] = {}
        for name in (f.name for f in fields(cls)):
            require(name in arrays, f"search: the state has no {name!r}")
            a = np.asarray(arrays[name])
            like = (2,) if name == "key" else np.shape(arrays["start"])
            shape = like if name in ("key", "start", "x", "best") else ()
            require(
                a.shape == shape and (name == "start" or a.dtype == _kind(name)),
                f"search: {name} of the state is {a.dtype} {a.shape}, "
                f"expected {_kind(name)} {shape}",
            )
            given[name] = a.copy() if shape or name in ("start", "x", "best") else a.item()
        return cls(**given)


def _kind(name: str) -> np.dtype[Any]:
    counts = ("evaluations", "accepted", "since", "non_finite")
    return np.dtype("uint32" if name == "key" else "int64" if name in counts else "float64")


@dataclass(frozen=True)
class Found:
    """What a search has found.

    params       the best parameters, of the structure, shapes and dtypes given
    value        their value; infinite where no evaluation was finite
    evaluations, accepted, non_finite: as in `State`
    outcome      "target reached", "budget spent", or "paused" before either
    state        to go on from
    """

    params: Any
    value: float
    evaluations: int
    accepted: int
    non_finite: int
    outcome: str
    state: State


@dataclass(frozen=True)
class Method:
    """A search with its options; the subclasses say where a candidate lies and when it is taken.

    evaluations  the budget, the first at the start itself
    scale        of a move
    noise        "normal", "uniform" in [-1, 1), or "cauchy"
    target       the search ends at a value this low; None is no target
    """

    NAME: ClassVar[str] = "search"

    evaluations: int
    scale: float = 1.0
    noise: str = "normal"
    target: float | None = None

    def __post_init__(self) -> None:
        self.whole("evaluations", 1)
        self.positive("scale")
        one_of(self.NAME, "noise", self.noise, NOISES)
        target: Any = self.target
        if target is not None:
            known = isinstance(target, Real) and not math.isnan(float(target))
            require(known, f"{self.NAME}: target is {target!r}, expected a number or None")

    def whole(self, name: str, low: int) -> None:
        value: Any = getattr(self, name)
        boolean = value is True or value is False
        known = not boolean and isinstance(value, Integral) and int(value) >= low
        require(known, f"{self.NAME}: {name} is {value!r}, expected an integer at least {low}")

    def positive(self, name: str) -> None:
        value: Any = getattr(self, name)
        known = isinstance(value, Real) and 0 < float(value) < math.inf
        require(known, f"{self.NAME}: {name} is {value!r}, expected a finite number above 0")

    def candidate(self, s: State, z: Array) -> Array:
        """Where to evaluate next, from a row of noise."""
        raise NotImplementedError

    def takes(self, s: State, value: float, u: float) -> bool:
        """Whether to move to a candidate with this finite value."""
        raise NotImplementedError

    def ready(self, s: State) -> None:
        """Called before each candidate: where a restart moves x."""

    def run(
        self, f: Function, params: Any, key: Any, *, state: State | None = None, pause: int = 0
    ) -> Found:
        """Search from params for a low value of f.

        Args:
            f: params -> a number. Infinite and NaN count as worse than any number.
            params: arrays in nested dicts, lists and tuples; real floating.
            key: a key of `bpx.random`, or a seed.
            state: go on from it, exactly as if the search had not stopped; key is not read then.
            pause: stop once this many evaluations are made in all; 0 does not.

        Raises:
            SpecError: another leaf; a value that is no number; a state of other parameters.
        """
        x0, back = flatten(params)
        s = self._begin(f, x0, back, key) if state is None else replace(state)
        require(
            s.start.shape == x0.shape,
            f"{self.NAME}: the state has {s.start.size} parameters, expected {x0.size}",
        )
        end = min(self.evaluations, pause) if pause else self.evaluations
        block, rows = -1, min(512, max(1, 2**16 // max(1, x0.size)))
        while s.evaluations < end and not self._reached(s):
            at, row = divmod(s.evaluations - 1, rows)
            if at != block:
                block, (zs, us) = at, self._draw(s.key, at, (rows, x0.size))
            self.ready(s)
            x = self.candidate(s, zs[row])
            self._after(s, x, self._value(f, back(x)), float(us[row]))
        outcome = "budget spent" if s.evaluations >= self.evaluations else "paused"
        if self._reached(s):
            outcome = "target reached"
        return Found(
            back(s.best), s.best_value, s.evaluations, s.accepted, s.non_finite, outcome, s
        )

    def _begin(self, f: Function, x0: Array, back: Callable[[Array], Any], key: Any) -> State:
        value = self._value(f, back(x0))
        words = np.array(random.key_words(key), np.uint32)
        bad = int(not math.isfinite(value))
        return State(words, x0, x0, value, x0, value, 1, 0, 0, bad)

    def _reached(self, s: State) -> bool:
        return self.target is not None and s.best_value <= self.target

    def _draw(self, key: Array, block: int, shape: tuple[int, int]) -> tuple[Array, Array]:
        moves, decisions = (random.fold_in(key, 2 * block + i) for i in (0, 1))
        u = random.uniform(decisions, shape[:1], np.float64)
        if self.noise == "normal":
            return random.normal(moves, shape, np.float64), u
        z = 2 * random.uniform(moves, shape, np.float64) - 1
        return (np.tan(np.pi / 2 * z) if self.noise == "cauchy" else z), u

    def _after(self, s: State, x: Array, value: float, u: float) -> None:
        s.evaluations += 1
        s.since += 1
        if value == math.inf:
            s.non_finite += 1
            return
        if self.takes(s, value, u):
            s.x, s.value, s.since = x, value, 0
            s.accepted += 1
        if value < s.best_value:
            s.best, s.best_value = x, value

    def _value(self, f: Function, params: Any) -> float:
        """f's value as a float; NaN and -inf as inf."""
        returned = f(params)
        try:
            value = float(returned)
        except (TypeError, ValueError):
            require(False, f"{self.NAME}: f gives {type(returned).__name__}, expected a number")
            raise
        return value if math.isfinite(value) else math.inf
