"""Benchmark inputs from an entry's record alone, the same numbers for every framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpx import dims as dim
from bpx.bench_rows import Row
from bpx.spec import Arg, Op, Options
from bpx.verify.draw import Draw

Array = np.ndarray[Any, Any]

# What the normal numbers of an argument are multiplied by: logits of plain normal numbers lie so
# far apart that most probabilities are denormal numbers, which slow down any product.
SCALE: Mapping[str, Mapping[str, float]] = {
    "gated_linear": {"weight": 0.01},
    "linear_cross_entropy": {"weight": 0.02},
}


def given(spec: Op, row: Row) -> tuple[bool, ...]:
    """Which arguments take part: the optional ones where the row has their dims, but for those of a
    loss, which are weights, and optional indices, which say where sequences end."""
    loss = spec.path.startswith("losses/")

    def there(arg: Arg) -> bool:
        names = [name for name in dim.parse(arg.dims)[0] if not name.isdigit()]
        return not (loss or arg.kind == "index") and all(name in row for name in names)

    return tuple(not arg.optional or there(arg) for arg in spec.args)


def wanted(spec: Op) -> tuple[bool, ...]:
    """Which arguments a gradient is asked for: every float except a target, which is data."""
    return tuple(arg.kind == "float" and arg.name != "target" for arg in spec.args)


def options(spec: Op, row: Row) -> Options:
    """The complete options of a row."""
    return spec.complete({k: v for k, v in row.items() if k in spec.options})


def sizes(spec: Op, row: Row) -> dim.Dims:
    """The size of every dim that is met, from a row of `spec.bench`; a starred dim is one axis, or
    those of a tuple.

    Raises TypeError unless the row has positive sizes for every dim and for nothing else.
    """
    bound: dict[str, Any] = {}
    for arg, there in zip(spec.args, given(spec, row), strict=True):
        if not there:
            continue
        names, star = dim.parse(arg.dims)
        for i, name in enumerate(names):
            if not name.isdigit():
                size = row.get(name)
                bound[name] = (size,) if i == star and isinstance(size, int) else size
        if arg.below is not None:
            bound.setdefault(arg.below, row.get(arg.below))
    missing = [name for name, size in bound.items() if size is None]
    given_sizes = {name: size for name, size in row.items() if name not in spec.options}
    unknown = sorted(set(given_sizes) - set(bound))
    numbers = [n for size in given_sizes.values() for n in np.atleast_1d(size)]
    if missing or unknown or any(n < 1 for n in numbers):
        raise TypeError(
            f"{spec.name}: bench row {dict(row)}, expected one positive size for each of "
            f"{list(bound)}"
        )
    return bound


def draw(spec: Op, row: Row, seed: int = 0) -> tuple[dict[str, Array | None], Array]:
    """The arguments and the incoming gradient: floats normal, or uniform in their domain; indices
    uniform below their dim; None for an argument that does not take part."""
    bound, numbers = sizes(spec, row), Draw(spec.name, seed)
    arrays = {
        arg.name: _array(arg, bound, numbers) if there else None
        for arg, there in zip(spec.args, given(spec, row), strict=True)
    }
    for name, factor in SCALE.get(spec.name, {}).items():
        arrays[name] = np.asarray(factor * np.asarray(arrays[name]))
    chosen = options(spec, row)
    shapes = tuple(None if a is None else a.shape for a in arrays.values())
    out = dim.shape(spec.out_dims(chosen), spec.bind(shapes, chosen))
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
