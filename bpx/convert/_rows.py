"""A row of a table: some of torch's arrays of a layer, their names elsewhere, both ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bpx.convert._arrays import Array

Arrays = tuple[Array, ...]


def _same(*arrays: Array) -> Arrays:
    return arrays


@dataclass(frozen=True)
class Row:
    """`to` takes the arrays named by `torch`, in order, to those named by `theirs`; `back` is its
    inverse. A row of which no array is there is skipped: a layer without bias. `loses` says what
    `to` cannot keep, for arrays that are not only moved: then no optimizer state passes here."""

    torch: tuple[str, ...]
    theirs: tuple[str, ...]
    to: Callable[..., Arrays] = _same
    back: Callable[..., Arrays] = _same
    loses: str = ""


def row(
    torch: str,
    theirs: str,
    to: Callable[[Array], Array] | None = None,
    back: Callable[[Array], Array] | None = None,
) -> Row:
    """One array to one array; as it is without `to`, and back by `to` again without `back`."""
    if to is None:
        return Row((torch,), (theirs,))
    forth, inverse = to, to if back is None else back
    return Row((torch,), (theirs,), lambda a: (forth(a),), lambda a: (inverse(a),))


Table = dict[str, Callable[[Any], tuple[Row, ...]]]
