"""Interleaved timing: what two programs cost on the same machine in the same minute.

Single timings on a shared machine differ by more than the programs do, so candidates take turns in
short rounds, the order reversed every other round, and what is reported is the median and the
quartiles of the ratios within a round.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

BLOCK = 2e-3  # seconds: a block of calls far above the clock's resolution
WARM_UP = 3  # calls after the first, which compiles


@dataclass(frozen=True)
class Saved:
    """Bytes alive between forward and backward: made by the forward, and arguments kept by it."""

    made: int
    arguments: int


@dataclass(frozen=True)
class Candidate:
    """One way to compute an entry. `run` does it once and returns when the result is there.

    `peak` is how many bytes one run has allocated at once, the arguments not counted. `beside` is
    the candidate that its ratio is to. clock(run, calls) -> seconds per call, the wall's where it
    is None. `calls` is how many make a block; given, `run` has been warmed up.
    """

    run: Callable[[], object]
    saved: Saved | None = None
    peak: int | None = None
    beside: str = "own"
    clock: Callable[[Callable[[], object], int], float] | None = None
    calls: int | None = None


@dataclass(frozen=True)
class Prepared:
    """The candidates of one comparison; "own" is the framework's, absent where it has none.

    `default` is the candidate that a plain call runs, `refused` says why a kernel is no candidate,
    `failed` what one raised. `repeat` is the most rounds, `facts` go into the report's row.
    """

    candidates: Mapping[str, Candidate]
    default: str
    refused: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    repeat: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Median, lower and upper quartile."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    """Median and quartiles (inclusive) of at least one value."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def rounds(
    candidates: Mapping[str, Candidate], repeat: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds per call of every candidate in every round: `repeat` rounds, or as many as fit into
    `seconds`, never fewer than one."""
    calls = {name: c.calls or _calls(c.run) for name, c in candidates.items()}
    clocks = {name: c.clock or _block for name, c in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    order = list(candidates)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(repeat):
            for name in order if i % 2 == 0 else reversed(order):
                times[name].append(clocks[name](candidates[name].run, calls[name]))
            if time.perf_counter() > end:
                break
    finally:
        if collecting:
            gc.enable()
    return times


def _calls(run: Callable[[], object]) -> int:
    """Warm up, and how many calls fill a block."""
    run()
    once = min(_block(run, 1) for _ in range(WARM_UP))
    return max(1, math.ceil(BLOCK / max(once, 1e-7)))


def _block(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
