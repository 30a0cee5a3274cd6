"""L-BFGS's pairs of differences: a list from the oldest on in torch, a ring in optax.

torch's state   old_stps, old_dirs: steps s and changes y of the gradient, here a key for each
                pair, "old_stps.0" the oldest; prev_flat_grad; the step d t after it, here by
                the parameters before it, prev_params
optax's tuple   diff_params_memory, diff_updates_memory (size, *shape), weights_memory 1 / y.s;
                updates; params. The pair of update n, counted from 0, is at (n - 1) % size
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bpx.convert._arrays import Array
from bpx.spec import require

PAIRS = ("old_stps", "old_dirs")
Slots = Mapping[str, Mapping[str, Array]]


def base(key: str) -> str:
    """The key without the number of a pair."""
    return key.partition(".")[0]


def length(slots: Slots, size: int) -> int:
    """How many pairs there are. Raises SpecError where they are not numbered 0, 1, ... alike, or
    are more than the history has places for."""
    found = [sorted(k for k in slots if base(k) == pair) for pair in PAIRS]
    wanted = [sorted(f"{pair}.{i}" for i in range(len(found[0]))) for pair in PAIRS]
    require(
        found == wanted and len(found[0]) <= size,
        f"convert: LBFGS: the pairs are {[*found[0], *found[1]][:4]}, expected at most {size} of "
        "old_stps.0, old_stps.1, ... and as many old_dirs",
    )
    return len(found[0])


def ring(slots: Slots, size: int, count: int) -> tuple[dict[str, dict[str, Array]], Array]:
    """(key -> name -> (size, *shape), weights (size)) after `count` updates, of arrays by the names
    of one layout."""
    pairs = length(slots, size)
    places = [(count - 1 - pairs + i) % size for i in range(pairs)]
    names = slots["prev_params"]
    found = {
        key: {n: np.zeros((size, *a.shape), a.dtype) for n, a in names.items()} for key in PAIRS
    }
    weights = np.zeros(size)
    for i, at in enumerate(places):
        for key in PAIRS:
            for n, a in slots[f"{key}.{i}"].items():
                found[key][n][at] = a
        weights[at] = 1 / inner(slots[f"old_stps.{i}"], slots[f"old_dirs.{i}"])
    return found, weights


def unrolled(found: Slots, size: int, count: int) -> dict[str, dict[str, Array]]:
    """The inverse of ring: a key for each pair that has been written and curves upwards."""
    kept: list[tuple[dict[str, Array], ...]] = []
    for i in range(max(count - 1 - size, 0), count - 1):
        pair = tuple({n: a[i % size] for n, a in found[key].items()} for key in PAIRS)
        if inner(*pair) > 0:
            kept.append(pair)
    return {f"{k}.{i}": p[j] for i, p in enumerate(kept) for j, k in enumerate(PAIRS)}


def inner(a: Mapping[str, Array], b: Mapping[str, Array]) -> Any:
    """The inner product over all parameters, in float64."""
    return sum(float(np.vdot(a[n].astype(np.float64), b[n].astype(np.float64))) for n in a)
