"""A model in one layout: where its parameters stand there, and which way their axes went.

Found by moving arrays of numbers as the weights are moved, so that it follows from the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpx.convert._arrays import Array
from bpx.convert.structure import Structure
from bpx.convert.weights import from_layout, to_layout

Shape = tuple[int, ...]
Turns = tuple[int | None, ...]


@dataclass(frozen=True)
class Placed:
    """structure: the torch model's; layout, names, forms: as in to_layout."""

    structure: Structure
    layout: str = "plain"
    names: Mapping[str, str] | None = None
    forms: Mapping[str, str] = field(default_factory=dict)

    def to(self, arrays: Mapping[str, Array], whole: bool = False) -> dict[str, Array]:
        """Arrays of an optimizer by torch's names, or some of them, as the layout has them."""
        more = self.layout, arrays, self.structure, self.names, self.forms
        return to_layout(*more, moved_only=True, whole=whole)

    def back(self, arrays: Mapping[str, Array], whole: bool = False) -> dict[str, Array]:
        """The inverse of `to`."""
        more = self.layout, arrays, self.structure, self.names, self.forms
        return from_layout(*more, moved_only=True, whole=whole)

    def shape(self, name: str) -> Shape:
        return self.structure.arrays[name].shape

    def owners(self, wanted: Iterable[str], whole: bool = False) -> dict[str, frozenset[str]]:
        """Each name there -> torch's names of what it is made of; none for an array without
        elements where names differ."""
        order = list(wanted)
        numbers = {n: np.broadcast_to(np.int64(i), self.shape(n)) for i, n in enumerate(order)}
        there = self.to(numbers, whole)
        if self.layout == "plain":
            return {t: frozenset((n,)) for n, t in zip(order, there, strict=True)}
        return {n: frozenset(order[i] for i in _values(a)) for n, a in there.items()}

    def turns(self, wanted: Iterable[str]) -> dict[str, tuple[str, Shape, Turns]]:
        """Each name there -> torch's name, the shape there, and the place there of each of torch's
        axes; None for an axis of fewer than two elements, or one that was cut or merged.

        Raises SpecError where arrays are cut or joined."""
        order = list(wanted)
        most = max((len(self.shape(n)) for n in order), default=0)
        places: dict[str, list[int | None]] = {}
        for axis in range(most):
            moved = self.to({n: _along(self.shape(n), axis) for n in order}, True)
            for name, a in moved.items():
                places.setdefault(name, []).append(_varies(a))
        owners = self.owners(order, True)
        shapes = {n: a.shape for n, a in self.to({n: _zeros(self.shape(n)) for n in order}).items()}
        found = {}
        for name, (own, *_) in ((n, tuple(o)) for n, o in owners.items() if o):
            axes = places.get(name, [])[: len(self.shape(own))]
            found[name] = own, shapes[name], tuple(axes)
        return found


def _zeros(shape: Shape) -> Array:
    return np.broadcast_to(np.int64(0), shape)


def _values(a: Array) -> list[int]:
    """The numbers in an array, mostly one."""
    if a.size == 0:
        return []
    low, high = int(a.min()), int(a.max())
    return [low] if low == high else [int(x) for x in np.unique(a)]


def _along(shape: Shape, axis: int) -> Array:
    """The index along an axis, in the shape; zeros for one of fewer axes."""
    if axis >= len(shape):
        return _zeros(shape)
    sizes = [n if i == axis else 1 for i, n in enumerate(shape)]
    return np.broadcast_to(np.arange(shape[axis]).reshape(sizes), shape)


def _varies(a: Array) -> int | None:
    """The one axis along which the array's numbers differ, seen at its corners, since they rise or
    fall along it; None for none, or several."""
    if a.size == 0:
        return None
    start = (0,) * a.ndim
    ends = (tuple(-1 if i == axis else 0 for i in range(a.ndim)) for axis in range(a.ndim))
    found = [axis for axis, end in enumerate(ends) if a[end] != a[start]]
    return found[0] if len(found) == 1 else None


def alike(turns: Turns, shape: Shape, axis: int, there: int, sizes: Any) -> bool:
    """Whether torch's axis stands there as `there`: moved to it, or both have one element."""
    if sizes[axis] <= 1:
        return shape[there] == sizes[axis]
    return turns[axis] == there
