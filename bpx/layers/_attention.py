"""What the spec and the rules of attention share: its options in numbers, and which blocks of the
attention matrix a rule has to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from bpx.layers.dropout import factor as factor
from bpx.layers.dropout import threshold as threshold


def scale_of(scale: float | None, features: int) -> float:
    return 1 / math.sqrt(max(features, 1)) if scale is None else scale


def limits(causal: bool, window: Any) -> tuple[int | None, int | None]:
    """How far to the left and to the right of its own position a query sees; None: no limit."""
    left, right = window or (None, None)
    return left, 0 if causal else right


@dataclass(frozen=True)
class Pair:
    """The block of queries i0 <= i < i1 and keys j0 <= j < j1.

    row and column count blocks; `whole` says that each of its queries sees each of its keys, as far
    as causal and window go.
    """

    row: int
    column: int
    i0: int
    i1: int
    j0: int
    j1: int
    whole: bool


def spans(n: int, size: int) -> list[tuple[int, int]]:
    """Blocks of `size` of n elements, the last one smaller."""
    return [(start, min(start + size, n)) for start in range(0, n, size)]


def pairs(
    queries: int,
    keys: int,
    size: tuple[int, int],
    causal: bool,
    window: tuple[int | None, int | None] | None,
) -> list[list[Pair]]:
    """For each block of queries the blocks of keys in which causal and window leave anything."""
    left, right = limits(causal, window)
    found = []
    for row, (i0, i1) in enumerate(spans(queries, size[0])):
        line = []
        for column, (j0, j1) in enumerate(spans(keys, size[1])):
            low, high = j0 - (i1 - 1), j1 - 1 - i0  # of the offsets j - i that it holds
            if (left is None or high >= -left) and (right is None or low <= right):
                whole = (left is None or low >= -left) and (right is None or high <= right)
                line.append(Pair(row, column, i0, i1, j0, j1, whole))
        found.append(line)
    return found
