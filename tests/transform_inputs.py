"""Gradients and weights that the tests of the transforms share."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.training import Transform
from bpx.transforms import ALL

SPECS = {spec.name: spec for spec in ALL}
SHAPES = ((3, 4), (5,), (), (2, 3, 4), (2, 3, 2, 5), (6, 1), (0, 2))
EPS = float(np.finfo(float).eps)


def draw(seed: int, size: float = 1.0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.asarray(size * rng.normal(size=shape)) for shape in SHAPES]


def complete(spec: Transform, trial: dict[str, Any]) -> dict[str, Any]:
    return {**spec.options, **trial}


def cases(on: str) -> list[tuple[Transform, dict[str, Any]]]:
    return [(s, t) for s in ALL if s.on == on for t in s.trials]


def run_gradients(spec: Transform, options: dict[str, Any], steps: int = 9) -> list[Any]:
    """What becomes of drawn gradients, one list (or None) a step. Steps 3 and 4 have a NaN."""
    ps, out = draw(100), []
    state = spec.init(ps, **options)
    for t in range(steps):
        with np.errstate(all="ignore"):
            gs, state = spec.step(gradients(t), ps, state, **options)
        out.append(gs)
    return out


def gradients(t: int) -> list[Any]:
    gs = draw(t, 0.1 * 3.0**t if t < 5 else 0.3)
    if t in (3, 4):
        gs[1][2] = np.nan
    return gs


def assert_same(got: Any, want: Any, factor: float = 64, eps: float = EPS) -> None:
    """Lists of arrays, to some roundings of each array's largest element; NaN only where NaN is."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a, float), np.asarray(b, float)
        assert a.shape == b.shape
        largest = np.max(np.abs(b[np.isfinite(b)]), initial=0.0)
        np.testing.assert_allclose(a, b, rtol=0, atol=factor * eps * largest, equal_nan=True)
