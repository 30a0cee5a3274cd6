"""A point at which a rule or its reference may refuse to run, or would take too long: a long one is
tried at smaller sizes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from bpx.verify.candidate.expected import EVALUATED
from bpx.verify.candidate.levels import Differences, Specification
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.point import Point
from bpx.verify.candidate.trial import Trial

Found = Iterator[dict[str, Any]]
LONGEST = 0.25  # seconds of a call, or of the reference's gradient
OPTIONAL = ("bfloat16", "float16")  # a rule need not run in them


def tried(trial: Trial, point: Point) -> bool:
    """Whether a point is tried at smaller sizes first. Where a new shape is a compilation, trying
    one would cost as much as it saves: there a specification alone is."""
    may = not trial.host.few or isinstance(trial.reference, Specification)
    return point.long and bool(point.sizes) and may


def guarded(trial: Trial, point: Point) -> Found:
    """A point at which the rule or the reference may refuse to run: an empty array, a dtype."""
    if tried(trial, point):
        _not_slow(trial, point)
    _refused(trial, lambda: trial.like(point))
    optional = point.empty or point.dtype in OPTIONAL
    try:
        items = list(trial.compared(point))
    except (RuntimeError, NotImplementedError, TypeError, ValueError, IndexError) as error:
        if not optional:
            raise
        kind = "an empty array" if point.empty else point.dtype
        raise NotRun(f"the rule refuses {kind}: {type(error).__name__}") from error
    yield from items


def _refused(trial: Trial, forward: Callable[[], Any]) -> None:
    """A forward of the reference: where it raises there is nothing to look at."""
    if isinstance(trial.reference, Differences):
        return  # level C would hide the rule's own crash
    try:
        forward()
    except NotRun:
        raise
    except Exception as error:
        raise NotRun(f"the reference raises {type(error).__name__} here") from error


def _not_slow(trial: Trial, point: Point) -> None:
    """Long dims are for rules whose cost is linear in them: a slow one is named, not waited for;
    and so is a slow reference, which is called a dozen times."""
    key = repr((sorted(point.sizes.items()), sorted(point.options.items())))  # of every dtype
    if key not in trial.guesses:
        trial.guesses[key] = _guesses(trial, point)
    for what, (_, quadratic) in trial.guesses[key].items():
        if quadratic > LONGEST:
            raise NotRun(
                f"a {what} at this size would take about {quadratic:.1g} s, were it quadratic"
            )
    trial.purse.afford(EVALUATED * sum(likely for likely, _ in trial.guesses[key].values()))


def _guesses(trial: Trial, point: Point) -> dict[str, tuple[float, float]]:
    """Seconds of a call, and of the reference's gradient, at the size of a point: as they grow from
    a 64th of it to an eighth, and were they quadratic. An eighth is tried only where it fits."""

    def steps(arrays: Any) -> dict[str, Callable[[], Any]]:
        ys: list[Any] = []

        def call() -> None:
            ys[:] = trial.host.like(trial.counted, arrays, point.options)

        def reference() -> None:
            trial.reference.vjp(arrays, trial.cotangents(ys, "float64"), point.options)

        if isinstance(trial.reference, Differences):  # none are taken of so much
            return {"call": call}
        return {"call": call, "gradient of the reference": reference}

    few, eighth = (trial.points.part(point, share) for share in (64, 8))
    _refused(trial, partial(trial.reference.like, few, point.options))
    least, small, full = (sum(a.size for a in arrays) for arrays in (few, eighth, point.arrays))
    larger, seconds = full / max(small, 1), dict[str, float]()
    if not trial.host.few and small > least:  # a call is a trace there, which grows with nothing
        # twice: a first call that took long would make what follows look as if it did not grow
        seconds = {what: min(_cpu(run), _cpu(run)) for what, run in steps(few).items()}
        trial.purse.afford(2 * small / least * sum(seconds.values()))
    _refused(trial, partial(trial.reference.like, eighth, point.options))
    found: dict[str, tuple[float, float]] = {}
    for what, run in steps(eighth).items():
        took = max(_cpu(run), 1e-9)
        if LONGEST < took * larger**2 < 4 * LONGEST:  # it may have been the first of its size
            took = min(took, _cpu(run))
        power = 2.0
        if seconds.get(what, 0.0) > 0.0:
            power = np.clip(np.log(took / seconds[what]) / np.log(small / least), 1.0, 2.0)
        found[what] = took * larger**power, took * larger**2
        if took * larger**2 > LONGEST:
            break
    return found


def _cpu(run: Callable[[], None]) -> float:
    """Seconds of this process alone: what else the machine does leaves no point out."""
    start = time.process_time()
    run()
    return time.process_time() - start
