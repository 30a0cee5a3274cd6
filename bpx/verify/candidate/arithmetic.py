"""The checks that are arithmetic: the rule against its reference at every point, and algebra."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bpx.verify.bound import UNIT
from bpx.verify.candidate import tried
from bpx.verify.candidate.cotangents import COTANGENTS
from bpx.verify.candidate.levels import STEP, Differences, directional
from bpx.verify.candidate.measure import measured
from bpx.verify.candidate.plan import Check, NotRun
from bpx.verify.candidate.point import Point
from bpx.verify.candidate.rounding import lost
from bpx.verify.candidate.trial import Trial
from bpx.verify.candidate.twice import second
from bpx.verify.draw import Draw

Found = Iterator[dict[str, Any]]


def checks(trial: Trial, quick: bool, full: bool) -> list[Check]:
    """Every arithmetic check, the most telling first."""
    points, host = trial.points, trial.host
    found: list[Check] = []

    def at(point: Point) -> None:
        run, first = partial(tried.guarded, trial, point), tried.tried(trial, point)
        found.append(Check(point.family, point.name, run, point.long, first))

    for k in range(2 if quick else 3):
        point = points.generic(k)
        for part in ("forward", "vjp"):
            found.append(Check(part, point.name, partial(trial.compared, point, parts=(part,))))
    for kind in COTANGENTS:
        found.append(
            Check("cotangent", kind, partial(trial.compared, points.generic(0), kind=kind))
        )
    found.append(Check("cotangent", "each output alone", partial(each_output, trial)))
    if trial.linear:
        found.append(Check("linear", "a g1 + g2", partial(linear, trial)))
    if quick:
        return found
    found.append(Check("calculus", "differences", partial(calculus, trial)))
    for point in points.shapes(host.few, full):
        at(point)
    for point in points.values():
        at(point)
    for point in points.scales():
        at(point)
    for point in points.dtypes(trial.dtypes, host.few):
        at(point)
    for point in points.options():
        at(point)
    for point in points.wide() if full or not host.few else ():
        if point.dtype in ("float64", *trial.dtypes):
            at(point)
    found.append(Check("twice", "second derivative", partial(second, trial)))
    if full:
        for seed in range(3, 40):
            point = points.generic(seed)
            found.append(Check("vjp", point.name, partial(trial.compared, point)))
    return found


def each_output(trial: Trial) -> Found:
    """An incoming gradient for one output, zeros for the others."""
    point = trial.points.generic(0)
    ys = trial.reference.like(trial.inputs(point), point.options)
    places = [i for i, y in enumerate(ys) if np.asarray(y).dtype.kind == "f"]
    if len(places) < 2:
        raise NotRun("there is one output")
    for i in places:
        for item in trial.compared(point, only=i, parts=("vjp",)):
            yield {**item, "what": f"{item['what']} by output {i}"}


def linear(trial: Trial) -> Found:
    """b(a g1 + g2) = a b(g1) + b(g2): exact algebra, no reference needed."""
    point, a = trial.points.generic(1), -37.5
    arrays = trial.inputs(point)
    pull = partial(trial.host.pull, trial.counted, arrays, point.options)
    ys = trial.host.like(trial.counted, arrays, point.options)
    g1 = trial.cotangents(ys, "float64")
    g2 = [
        None if d is None else np.asarray(Draw(f"g2 {i}", trial.points.seed + 2)(*d.shape))
        for i, d in enumerate(g1)
    ]
    both = [None if p is None else a * p + q for p, q in zip(g1, g2, strict=True)]
    grads = [pull(g, "float64", trial.asked)[1] for g in (g1, g2, both)]
    for i, (b1, b2, b) in enumerate(zip(*grads, strict=True)):
        if b is not None and b1 is not None and b2 is not None:
            size = np.abs(a * b1) + np.abs(b2)
            limit = 64 * UNIT["float64"] * (size + size.max(initial=0.0)) + 1e-300
            found = measured(b, a * b1 + b2, limit, "float64")
            if found.get("ratio", 0.0) > 1:  # terms may cancel in each of the three
                for g, factor in ((g1, abs(a)), (g2, 1.0), (both, 1.0)):
                    noise = lost(
                        *(pull(g, low, trial.asked)[1][i] for low in ("float32", "float64"))
                    )
                    limit = limit + factor * noise
                found = measured(b, a * b1 + b2, limit, "float64")
            yield {"what": f"gradient of argument {i}", **found}


def calculus(trial: Trial) -> Found:
    """The reference's gradients against differences of its forward, along random directions; for a
    rule that differs on purpose, that they do differ somewhere."""
    if isinstance(trial.reference, Differences):
        raise NotRun("level C is differences already")
    point = trial.points.generic(0)
    arrays = trial.inputs(point)
    dys = trial.cotangents(trial.reference.like(arrays, point.options), "float64")

    def loss(moved: Any) -> float:
        outputs = trial.reference.both(moved, dys, point.options)[0]
        return sum(
            float((dy * y).sum()) for dy, y in zip(dys, outputs, strict=True) if dy is not None
        )

    grads = trial.reference.vjp(arrays, dys, point.options)
    differs = False
    for i, want in enumerate(trial.asked):
        if not want:
            continue
        g = np.zeros(arrays[i].shape) if grads[i] is None else grads[i]
        for k in range(2):
            v = np.asarray(Draw(f"direction {i} {k}", trial.points.seed)(*arrays[i].shape))
            near, far = (directional(loss, arrays, i, v, h) for h in (STEP / 4, STEP))
            size = max(abs(near), float(np.abs(g * v).sum()), 1e-300)
            if not np.isfinite(near):
                yield {"what": f"argument {i}", "skipped": "the reference is not finite here"}
                continue
            if abs(near - far) > 1e-7 * size:
                yield {"what": f"argument {i}", "skipped": "a kink lies within the steps"}
                continue
            error = abs(near - float((g * v).sum())) / size
            differs = differs or error > 1e-7
            if not trial.surrogate:
                message = (
                    f"the reference's gradient is not the derivative of its forward: off by "
                    f"{error:.2g}"
                )
                yield {
                    "what": f"argument {i}",
                    "ratio": error / 1e-7,
                    "message": message if error > 1e-7 else "",
                }
    if trial.surrogate:
        from bpx.verify.surrogate import REFUSED

        yield {"what": "surrogate", "message": "" if differs else REFUSED}
