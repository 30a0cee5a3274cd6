"""Sizes and edge values drawn by Hypothesis, where it is installed; a failure comes back shrunk.

One seed gives one sequence of examples, everywhere; nothing is stored between runs.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.verify.candidate.arguments import Float
from bpx.verify.candidate.plan import NotRun
from bpx.verify.candidate.point import Point
from bpx.verify.candidate.special import LEAST
from bpx.verify.candidate.trial import Trial

EXAMPLES, MANY = 25, 200
EDGES = (0.0, -0.0, 1.0, -1.0, LEAST, -LEAST, 1e-6, 30.0, -30.0, 1e3)
Found = Iterator[dict[str, Any]]


def installed() -> bool:
    return importlib.util.find_spec("hypothesis") is not None


class _Fails(Exception):
    """A comparison failed; Hypothesis looks for a smaller example."""


def run(trial: Trial, examples: int = EXAMPLES) -> Found:
    """The rule at drawn points; the smallest failing one is kept as `trial.drawn`."""
    if not installed():
        raise NotRun("hypothesis is not installed")
    import hypothesis
    from hypothesis import strategies

    made = 0

    settings = hypothesis.settings(
        max_examples=examples, database=None, deadline=None, print_blob=False,
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip

    def look(data: Any) -> None:
        nonlocal made
        point = drawn(trial, data, strategies)
        try:
            items = list(trial.compared(point))
        except NotRun:
            return
        except Exception:
            if any(a.size == 0 for a in point.arrays):
                return  # a rule need not take an empty array
            trial.drawn = point
            raise
        made += len(items)
        bad = [i for i in items if i.get("message") or i.get("ratio", 0.0) > 1]
        if bad:
            trial.drawn, failures[:] = point, bad
            raise _Fails

    failures: list[dict[str, Any]] = []
    try:
        seeded = hypothesis.seed(trial.points.seed)
        seeded(settings(hypothesis.given(strategies.data())(look)))()
    except _Fails:
        yield from failures
        return
    yield {"what": f"{made} comparisons"}


def drawn(trial: Trial, data: Any, strategies: Any) -> Point:
    """Sizes from 1, small ones first; ordinary values with some edge values among them."""
    points = trial.points
    sizes = points.sizes()
    for name in () if trial.host.few else points.names:  # a new shape is a compilation
        if name.startswith("*"):
            value = tuple(data.draw(strategies.lists(strategies.integers(1, 4), max_size=3)))
        elif name in points.allowed:
            value = data.draw(strategies.sampled_from(list(points.allowed[name])))
        else:
            value = data.draw(strategies.integers(1, 12))
        sizes = points.changed(sizes, name, value) or sizes
    chosen = {k: data.draw(strategies.sampled_from(v)) for k, v in points.choices.items()}
    arrays = []
    for arg, a in zip(points.args, points.arrays(sizes, "drawn"), strict=True):
        if isinstance(arg, Float) and a.size:
            edges = [e for e in (*EDGES, *arg.at, arg.low, arg.high) if e is not None]
            edges = [e for e in edges if arg.inside(np.asarray(e))]
            places = strategies.integers(0, a.size - 1)
            a = a.copy()
            if edges:
                pairs = strategies.tuples(places, strategies.sampled_from(edges))
                for place, edge in data.draw(strategies.lists(pairs, max_size=3)):
                    a.flat[place] = edge
        arrays.append(a)
    return Point("drawn", "hypothesis", tuple(arrays), chosen, kink=True, sizes=sizes)
