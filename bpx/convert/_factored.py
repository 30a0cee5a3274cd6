"""Adafactor's second moments of a matrix: means of squares along two axes, and none of its shape.

    torch's state   row_var (.. 1 ..) along a row, col_var along a column, with dims kept; variance
                    of a parameter that is not factored
    optax's tuple   v_row, v_col without the axis that was averaged; v; (1,) for what is not there

The product row * col / mean(row) is the same with the two exchanged, since both have one mean: a
layout that turns a matrix turns its rows into columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bpx.convert._arrays import Array
from bpx.convert._placed import Placed, Shape, Turns, alike
from bpx.optimizers.adafactor import SPEC, axes
from bpx.spec import SpecError, require

KEYS = ("row_var", "col_var", "variance")
REDUCED = KEYS[:2]
Slots = Mapping[str, Mapping[str, Array]]
Options = Mapping[str, Any]


def pair_of(shape: Shape, options: Options) -> tuple[int, int] | None:
    """(down, along) of a parameter, None where it is not factored."""
    return axes(shape, {**SPEC.options, **options})


def kept(shape: Shape, axis: int) -> Shape:
    """The shape of a mean along an axis, with dims kept."""
    return tuple(1 if i == axis else n for i, n in enumerate(shape))


def without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def shapes(shape: Shape, options: Options) -> dict[str, Shape]:
    """The state of a parameter: torch's key -> its shape."""
    pair = pair_of(shape, options)
    if pair is None:
        return {"variance": shape}
    down, along = pair
    return {"row_var": kept(shape, along), "col_var": kept(shape, down)}


def to_factored(slots: Slots, options: Mapping[str, Options], placed: Placed) -> dict[str, Any]:
    """The three keys as optax's tuple has them: every name there with an array for each key.
    options: by parameter. Raises SpecError where the layout has other axes to factor along."""
    known = [n for n in options if any(n in slots.get(k, {}) for k in KEYS)]
    full = {
        k: {n: np.broadcast_to(a, placed.shape(n)) for n, a in slots.get(k, {}).items()}
        for k in KEYS
    }
    moved = {k: placed.to(arrays, True) for k, arrays in full.items()}
    found: dict[str, Any] = {k: {} for k in KEYS}
    for there, (name, shape, turns) in placed.turns(known).items():
        pair = _there(name, placed.shape(name), shape, turns, options[name])
        if pair is None:
            v = moved["variance"][there]
            parts = np.zeros(1, v.dtype), np.zeros(1, v.dtype), v
        else:
            swapped, (down, along) = pair
            row, col = (moved[k][there] for k in (REDUCED[::-1] if swapped else REDUCED))
            parts = _taken(row, along), _taken(col, down), np.zeros(1, row.dtype)
        for key, part in zip(KEYS, parts, strict=True):
            found[key][there] = part
    return found


def from_factored(found: Slots, options: Mapping[str, Options], placed: Placed) -> dict[str, Any]:
    """The inverse of to_factored."""
    full: dict[str, dict[str, Array]] = {k: {} for k in KEYS}
    turns = placed.turns(options)
    for there in found["variance"]:
        require(there in turns, f"convert: {there} is not expected")
        name, shape, turned = turns[there]
        pair = _there(name, placed.shape(name), shape, turned, options[name])
        if pair is None:
            full["variance"][there] = _sized(found, "variance", there, shape)
            continue
        swapped, (down, along) = pair
        for key, axis in zip(REDUCED, (along, down), strict=True):
            mean = _sized(found, key, there, without(shape, axis))
            mean = np.broadcast_to(np.expand_dims(mean, axis), shape)
            full[REDUCED[(key == "row_var") == swapped]][there] = mean
    back = {k: placed.back(arrays, True) for k, arrays in full.items()}
    for key in REDUCED:
        for name, a in back[key].items():
            wanted = shapes(placed.shape(name), options[name])[key]
            back[key][name] = _cut(a, wanted)
    return {k: arrays for k, arrays in back.items() if arrays}


def _there(
    name: str, own: Shape, shape: Shape, turns: Turns, options: Options
) -> tuple[bool, tuple[int, int]] | None:
    """(whether rows are columns there, the pair of axes there); None where it is not factored."""
    here, there = pair_of(own, options), pair_of(shape, options)
    if here is None and there is None:
        return None
    if here is not None and there is not None:
        for swapped in (False, True):
            pair = there[::-1] if swapped else there
            if all(alike(turns, shape, a, b, own) for a, b in zip(here, pair, strict=True)):
                return swapped, there
    raise SpecError(
        f"convert: {name}: Adafactor's means are along the axes {here} of {own}, and {there} of "
        f"{shape} in the other layout, expected the same axes"
    )


def _taken(a: Array, axis: int) -> Array:
    """The mean that was broadcast along an axis, without it; zeros of nothing."""
    if a.shape[axis] == 0:
        return np.zeros(without(a.shape, axis), a.dtype)
    return np.take(a, 0, axis=axis)


def _cut(a: Array, shape: Shape) -> Array:
    """The same, with the axis kept."""
    if 0 in a.shape:
        return np.zeros(shape, a.dtype)
    return a[tuple(slice(n) for n in shape)].copy()


def _sized(found: Slots, key: str, name: str, shape: Shape) -> Array:
    a = found[key][name]
    require(
        a.shape == shape,
        f"convert: {key} of {name} has shape {a.shape}, expected {shape} (factored along other "
        "axes, or above another size)",
    )
    return a
