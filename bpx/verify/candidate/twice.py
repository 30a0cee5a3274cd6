"""Second derivatives against differences of the reference's gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from bpx.verify.bound import UNIT
from bpx.verify.candidate.levels import STEP, differences, directional
from bpx.verify.candidate.measure import measured
from bpx.verify.candidate.trial import Trial
from bpx.verify.draw import Draw

Found = Iterator[dict[str, Any]]
EACH = 12  # elements that are moved one by one; of more, that many, and all along one direction
STEPS = (STEP / 2, STEP)


def second(trial: Trial) -> Found:
    """Gradient of <v, gradient>: right, or an error. Never a constant that says nothing."""
    point, host = trial.points.generic(1), trial.host
    arrays = trial.inputs(point)
    dys = trial.cotangents(trial.reference.like(arrays, point.options), "float64")
    vs = [
        np.asarray(Draw(f"v {i}", trial.points.seed + 3)(*a.shape)) if want else None
        for i, (a, want) in enumerate(zip(arrays, trial.asked, strict=True))
    ]
    try:
        every = host.twice(trial.counted, arrays, point.options, dys, vs, trial.asked)
    except Exception as error:
        if trial.twice:
            raise
        text = " ".join(str(error).split())[:120]
        yield {"what": "refuses", "message": "", "skipped": f"second derivatives: {text}"}
        return
    if trial.twice is False:
        yield {
            "what": "second derivative",
            "message": "gives numbers, expected an error (declared twice=False)",
        }
        return

    def loss(moved: Any) -> float:
        grads = trial.reference.vjp(moved, dys, point.options)
        pairs = zip(vs, grads, strict=True)
        return sum(float((v * g).sum()) for v, g in pairs if v is not None and g is not None)

    # what is subtracted is rounded: by this much over the step, however small the difference
    terms = zip(vs, trial.reference.vjp(arrays, dys, point.options), strict=True)
    lost = UNIT["float64"] * sum(
        float(np.abs(v * g).sum()) for v, g in terms if v is not None and g is not None
    )
    for i, want in enumerate(trial.asked):
        if not want:
            continue
        for what, of, slopes in _parts(arrays, i, loss):
            near, far = map(slopes, STEPS)
            limit, smooth = tolerance(near, far, lost, _size(vs, dys))
            for got in every:
                value = np.zeros(arrays[i].shape) if got[i] is None else got[i]
                wanted = np.where(smooth, near, np.nan)
                found = measured(of(value), wanted, limit, "float64")
                yield {"what": f"second derivative by argument {i}{what}", **found}


def tolerance(near: Any, far: Any, lost: float, size: float) -> tuple[Any, Any]:
    """(bound, where there is no kink) of differences at two steps. `lost` is the rounding of what
    was subtracted, `size` one below which a second derivative is rounding."""
    largest = max(float(np.abs(near).max(initial=0.0)), size)
    limit = np.full(near.shape, 1e-6 * largest + 8 * lost / STEPS[0])
    return limit, np.abs(near - far) <= 1e-7 * largest


Part = tuple[str, Callable[[Any], Any], Callable[[float], Any]]


def _parts(arrays: Any, i: int, loss: Any) -> Iterator[Part]:
    """Some elements, and where these are not all, a direction: its name, that part of a gradient,
    and differences of a step."""
    n = arrays[i].size
    places = (
        np.unique(np.linspace(0, n - 1, min(n, EACH)).round().astype(int)) if n else np.arange(0)
    )
    yield "", lambda g: np.ravel(g)[places], partial(differences, loss, arrays, i, places=places)
    if n > EACH:
        v = np.asarray(Draw(f"direction {i}")(*arrays[i].shape))

        def along(h: float) -> Any:
            return np.asarray(directional(loss, arrays, i, v, h))

        yield " along a direction", lambda g: np.asarray((g * v).sum()), along


def _size(vs: Any, dys: Any) -> float:
    """A size below which a second derivative is rounding: products of what goes in."""
    return 1e-3 * max(
        float(np.abs(v).max(initial=0.0)) for v in (*vs, *dys) if v is not None
    )  # fmt: skip
