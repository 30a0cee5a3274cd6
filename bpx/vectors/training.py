"""The vectors of an optimizer, a few steps of it, and of an initializer, from given noise.

Keys of an optimizer, with t = 1, 2, ... and i the place of a parameter:

    inputs/parameters/<i>       before the first step
    inputs/gradients/<t>/<i>    what step t is given; some elements are exactly 0
    parameters/<t>/<i>          after step t
    states/<t>/<i>/<name>       the specification's state after step t

Keys of an initializer: inputs/noise/<j>, the draws in the order they are asked for, and `value`.
Bounds are those of the kit; of step t, which has the roundings of t steps behind it, t times that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpx.spec import Initializer, Optimizer, SpecError
from bpx.vectors.build import BOUNDS, DTYPES, Rounding, Vectors, plain, stored, tolerances
from bpx.verify.bound import bound, movement
from bpx.verify.draw import Draw

STEPS = 4
PARAMETERS = ((5, 3), (4, 6), (7,), ())
# of weights, the first that an initializer takes: 4 axes for the layouts, 2 for matrices alone
WEIGHTS = ((6, 2, 3, 5), (3, 5, 2, 6), (2, 6, 3, 5), (6, 4))


def build_optimizer(spec: Optimizer) -> Vectors:
    """A few steps of every trial of the record."""

    def arrays(trial: int, dtype: str) -> Iterator[tuple[str, Any]]:
        options = {**spec.options, **spec.trials[trial]}
        draw = Draw(f"{spec.name} {trial}")
        shapes = [s for s in PARAMETERS if _takes(spec, s, options)]
        given = [draw(*s) for s in shapes]
        for _ in range(STEPS):
            zero = [draw.uniform(*s) < 0.15 for s in shapes]
            given += [np.where(z, 0.0, draw(*s)) for z, s in zip(zero, shapes, strict=True)]
        given = [Rounding().rounded(a, dtype) for a in given]
        names = [f"inputs/parameters/{i}" for i in range(len(shapes))]
        names += [f"inputs/gradients/{1 + t}/{i}" for t in range(STEPS) for i in range(len(shapes))]
        for name, a in zip(names, given, strict=True):
            yield name, stored(a, dtype)
        keys, _ = _run(spec, options, len(shapes), given)
        yield from _expected(
            keys,
            lambda inputs: _run(spec, options, len(shapes), inputs)[1],
            given,
            dtype,
            [int(key.split("/")[1]) for key in keys],
        )

    records = [{"options": {**spec.options, **trial}} for trial in spec.trials]
    return _vectors("optimizer", records, arrays)


def build_initializer(spec: Initializer) -> Vectors:
    """One weight of every trial of the record, from recorded noise."""
    records: list[dict[str, Any]] = []
    draws: list[list[Any]] = []
    for i, trial in enumerate(spec.trials):
        options = {**spec.options, **trial}
        shape = next(s for s in WEIGHTS if _accepts(spec, s, options))
        noise = Noise(Draw(f"{spec.name} {i}"))
        spec.from_noise(noise, shape, **options)
        records.append({"options": options, "shape": list(shape), "noise": noise.kinds})
        draws.append(noise.drawn)

    def arrays(trial: int, dtype: str) -> Iterator[tuple[str, Any]]:
        given = [Rounding().rounded(a, dtype) for a in draws[trial]]
        for j, a in enumerate(given):
            yield f"inputs/noise/{j}", stored(a, dtype)
        record = records[trial]

        def value(inputs: Any) -> list[Any]:
            feed = iter(inputs)
            shape = tuple(record["shape"])
            found = spec.from_noise(lambda *_: next(feed).copy(), shape, **record["options"])
            return [np.asarray(found, np.float64)]

        yield from _expected(["value"], value, given, dtype, [1])

    return _vectors("initializer", records, arrays)


class Noise:
    """Noise for `from_noise` that remembers what was asked for and what was given."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.kinds: list[str] = []
        self.drawn: list[Any] = []

    def __call__(self, kind: str, shape: tuple[int, ...]) -> Any:
        self.kinds.append(kind)
        self.drawn.append(self.draw(*shape) if kind == "normal" else self.draw.uniform(*shape))
        return self.drawn[-1].copy()


def _vectors(
    kind: str,
    records: list[dict[str, Any]],
    arrays: Callable[[int, str], Iterator[tuple[str, Any]]],
) -> Vectors:
    every: dict[str, Any] = {}
    found = []
    for i, record in enumerate(records):
        name, limits = f"trial {i}", {}
        for dtype in DTYPES:
            named = dict(arrays(i, dtype))
            every |= {f"{name}/{dtype}/{key}": a for key, a in named.items()}
            limits[dtype] = tolerances(named)
        options = {k: plain(v) for k, v in record["options"].items()}
        rest = {"options": options, "cancels": 0.0, "tolerances": limits}
        found.append({"name": name, **record, **rest})
    return Vectors(every, {"kind": kind, "cases": found})


def _expected(
    keys: list[str],
    f: Callable[[Any], list[Any]],
    given: list[Any],
    dtype: str,
    steps: list[int],
) -> Iterator[tuple[str, Any]]:
    """What is expected and its bound, by key; `steps` is the number of steps behind each."""
    wants = f(given)
    for key, want, moved, t in zip(keys, wants, movement(f, given, wants), steps, strict=True):
        limit = t * bound(want, moved, dtype, elementwise=False)
        yield key, stored(want)
        yield f"{BOUNDS}{key}", np.broadcast_to(stored(limit, "float64"), np.shape(want))


def _run(
    spec: Optimizer, options: dict[str, Any], count: int, given: list[Any]
) -> tuple[list[str], list[Any]]:
    """Keys and arrays of every parameter and state after every step."""
    ps, keys, found = list(given[:count]), [], []
    states = [spec.init(p, **options) for p in ps]
    for t in range(1, STEPS + 1):
        gs = list(given[t * count : (t + 1) * count])
        if spec.prepare is not None:
            gs = spec.prepare(gs, [options] * count)
        for i, g in enumerate(gs):
            ps[i], states[i] = spec.step(ps[i], g, states[i], t, **options)
            keys += [f"parameters/{t}/{i}", *(f"states/{t}/{i}/{k}" for k in states[i])]
            found += [np.asarray(a, np.float64) for a in (ps[i], *states[i].values())]
    return keys, found


def _takes(spec: Optimizer, shape: tuple[int, ...], options: dict[str, Any]) -> bool:
    try:
        spec.init(np.zeros(shape), **options)
    except SpecError:
        return False
    return True


def _accepts(spec: Initializer, shape: tuple[int, ...], options: dict[str, Any]) -> bool:
    try:
        if spec.check is not None:
            spec.check(shape, options)
    except SpecError:
        return False
    return True
