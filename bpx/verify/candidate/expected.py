"""What is expected of a rule at a point: the reference's results there, and their bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bpx.verify.bound import TINY, UNIT
from bpx.verify.candidate.levels import DIFFERENCED, EXACT, WIDER, Differences, Specification
from bpx.verify.candidate.measure import K, largest, limits, widened
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.point import GENERIC, Point
from bpx.verify.candidate.rounding import SAMPLES

LARGEST = 64  # elements that differences (level C) are taken of, one by one
EVALUATED = 12  # evaluations of the reference that its movement takes the time of, and the rule
LONGER = 6  # evaluations that one in long double, with those beside it, takes the time of


class Wanted(NamedTuple):
    """Inputs and incoming gradients; outputs and gradients wanted; their bounds, and wider ones
    that are worth their cost where something fails."""

    inputs: list[Any]
    dys: list[Any]
    values: list[Any]
    bounds: list[Any]
    wide: Callable[[], list[Any]]


def expected(trial: Any, point: Point, kind: str, only: int | None) -> Wanted:
    """What is expected at a point, as `Trial.reference_at` says. A point whose rest would not fit
    into the budget is left, but for generic ones: what one evaluation has cost the next ones will.
    """
    afford = trial.purse.afford if point.family != GENERIC else _nothing
    inputs, options, dtype = trial.inputs(point), point.options, point.dtype
    dys = trial.cotangents(trial.like(point), dtype, kind)
    if only is not None:
        dys = [d if i == only or d is None else np.zeros_like(d) for i, d in enumerate(dys)]
    differenced = isinstance(trial.reference, Differences)
    if differenced and sum(a.size for a in inputs) > LARGEST:
        raise NotRun("level C takes differences of small arrays only")
    if differenced and point.kink:
        raise NotRun("no difference is taken at a kink")
    places = [i for i, d in enumerate(dys) if d is not None]

    def both(values: Sequence[Any], low: str = "float64") -> list[Any]:
        given: list[Any] = [None] * len(dys)
        for i, d in zip(places, values[: len(places)], strict=True):
            given[i] = d
        arrays = list(values[len(places) :])
        outputs, grads = trial.reference.both(arrays, given, options, low)
        grads = [
            np.zeros(np.shape(a)) if g is None else np.asarray(g, np.float64)
            for g, a, want in zip(grads, arrays, trial.asked, strict=True)
            if want
        ]
        return [*(np.asarray(y, np.float64) for y in outputs), *grads]

    values, clock = [*(dys[i] for i in places), *inputs], [trial.purse.spent]

    def again(moved: Sequence[Any]) -> list[Any]:
        """One of a movement: what is left of it and the rule will cost what the last one did."""
        clock.append(trial.purse.spent)
        afford((EVALUATED + 1 - len(clock)) * (clock[-1] - clock[-2]))
        return both(moved)

    wanted = again(values)
    if differenced and dtype == "float64":
        # a movement would be differences of differences; the term below is wider
        bounds = [
            np.full(w.shape, 8 * K[dtype] * UNIT[dtype] * largest(w) + TINY[dtype]) for w in wanted
        ]
    else:
        bounds = limits(again, values, wanted, dtype)
    if differenced:
        n = len(dys)
        bounds[n:] = [
            b + DIFFERENCED * largest(w) for b, w in zip(bounds[n:], wanted[n:], strict=True)
        ]
    bounds = [b + point.gross * largest(w) for b, w in zip(bounds, wanted, strict=True)]

    @cache
    def wide() -> list[Any]:
        if differenced:
            return bounds
        low = "float32" if dtype == "float64" else dtype
        wider = dtype == "float64" and isinstance(trial.reference, Specification) and EXACT
        afford(SAMPLES * (LONGER if wider else 2) * (clock[-1] - clock[-2]))
        rng, runs = np.random.default_rng(5), []
        try:
            for k in range(SAMPLES):
                at = [
                    v
                    if np.asarray(v).dtype.kind != "f"
                    else trial.host.rounded(
                        v * (1 + 1e-3 * bool(k) * rng.uniform(-1, 1, np.shape(v))), low
                    )
                    for v in values
                ]
                runs.append((low, both(at), both(at, low)))
                if wider:
                    with contextlib.suppress(TypeError):  # of linear algebra, say
                        runs.append((dtype, both(at, WIDER), runs[-1][1]))
        except (RuntimeError, TypeError, NotImplementedError):
            return bounds  # the reference does not run in this dtype
        return widened(bounds, wanted, runs, dtype)

    return Wanted(inputs, dys, wanted, bounds, wide)


def _nothing(seconds: float) -> None:
    """What a generic point costs is paid for, whatever it is."""
