"""Benchmark inputs from an entry's record alone, the same numbers for every framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpx import dims as dim
from bpx.spec import Arg, Op
from bpx.verify.draw import Draw

Array = np.ndarray[Any, Any]


def given(spec: Op) -> tuple[bool, ...]:
    """Which arguments are there: all but the optional ones of a loss, which are weights, and
    optional indices, which say where sequences end."""
    loss = spec.path.startswith("losses/")
    return tuple(not (arg.optional and (loss or arg.kind == "index")) for arg in spec.args)


def wanted(spec: Op) -> tuple[bool, ...]:
    """Which arguments a gradient is asked for: every float except a target, which is data."""
    return tuple(arg.kind == "float" and arg.name != "target" for arg in spec.args)


def sizes(spec: Op, row: Mapping[str, int]) -> dim.Dims:
    """The size of every dim that is met, from a row of `spec.bench`; a starred dim is one axis.

    Raises TypeError unless the row has a positive size for every dim and for nothing else.
    """
    bound: dim.Dims = {}
    for arg, there in zip(spec.args, given(spec), strict=True):
        if not there:
            continue
        names, star = dim.parse(arg.dims)
        for i, name in enumerate(names):
            if not name.isdigit():
                bound[name] = (row[name],) if i == star and name in row else row.get(name)
        if arg.below is not None:
            bound.setdefault(arg.below, row.get(arg.below))
    missing = [name for name, size in bound.items() if size is None]
    unknown = sorted(set(row) - set(bound))
    if missing or unknown or any(size < 1 for size in row.values()):
        raise TypeError(
            f"{spec.name}: bench row {dict(row)}, expected one positive size for each of "
            f"{list(bound)}"
        )
    return bound


def draw(spec: Op, row: Mapping[str, int], seed: int = 0) -> tuple[dict[str, Array | None], Array]:
    """The arguments and the incoming gradient: floats normal, or uniform in their domain; indices
    uniform below their dim; None for an argument that is not there."""
    bound, numbers = sizes(spec, row), Draw(spec.name, seed)
    arrays = {
        arg.name: _array(arg, bound, numbers) if there else None
        for arg, there in zip(spec.args, given(spec), strict=True)
    }
    options = spec.complete({})
    shapes = tuple(None if a is None else a.shape for a in arrays.values())
    out = dim.shape(spec.out_dims(options), spec.bind(shapes, options))
    return arrays, numbers(*out)


def _array(arg: Arg, bound: dim.Dims, numbers: Draw) -> Array:
    shape = dim.shape(arg.dims, bound)
    if arg.below is not None:
        return np.asarray(numbers.index(bound[arg.below], *shape))
    if arg.kind == "bits":
        return np.asarray(numbers.index(256, *shape), np.uint8)
    if arg.kind == "mask":
        return np.asarray(numbers.index(2, *shape), np.bool_)
    if arg.kind == "key":
        return np.asarray(numbers.index(2**32, *shape), np.uint32)
    if arg.domain is None:
        return np.asarray(numbers(*shape))
    low, high = arg.domain
    if math.isfinite(low) and math.isfinite(high):
        return np.asarray(low + (high - low) * numbers.uniform(*shape))
    away = np.abs(numbers(*shape))
    return np.asarray(low + away if math.isfinite(low) else high - away)


def params(shapes: list[tuple[int, ...]], seed: int = 0) -> list[tuple[Array, Array]]:
    """A normal parameter and a normal gradient of each shape."""
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal(s), rng.standard_normal(s)) for s in shapes]
