"""How far a right result may lie from the reference: derived for every element, never tuned.

    bound_i = K (d_i + u |ref_i|) + 8 u max(max|ref|, cancels) + tiny

u     unit roundoff of the dtype under test
d_i   how far ref_i moves when every float input moves by u of itself: input conditioning, sampled.
      Where the movement does not shrink with the perturbation the point is a jump, d_i is 0, and
      the convention of the spec must be met to rounding.
K     roundings on the longest path of an entry: 32 in float32 and float64; 4 in half precision,
      where rules compute in float32 and round what they keep and what they return.
8 u max|ref| stands for sums whose terms cancel; an elementwise entry has none and no such term.
Where they cancel to nothing, ref says nothing of their size: the case states it (`cancels`).
Nothing is multiplied by the size of an array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
TINY = {"float64": 1e-307, "float32": 1e-37, "bfloat16": 1e-37, "float16": 1e-6}
PATH = {"float64": 32.0, "float32": 32.0, "bfloat16": 4.0, "float16": 4.0}

Arrays = Sequence[Any]


def movement(f: Callable[[Arrays], Arrays], arrays: Arrays, refs: Arrays) -> list[Any]:
    """Movement of each output per unit of relative movement of the float inputs, 0 at jumps."""
    rng = np.random.default_rng(7)
    slopes = []
    for h in (2.0**-20, 2.0**-28):
        worst = [np.zeros(np.shape(r)) for r in refs]
        for _ in range(4):
            moved = [
                a * (1 + h * rng.uniform(-1, 1, np.shape(a)))
                if a is not None and np.asarray(a).dtype.kind == "f"
                else a
                for a in arrays
            ]
            with np.errstate(all="ignore"):
                for i, (out, ref) in enumerate(zip(f(moved), refs, strict=True)):
                    diff = np.nan_to_num(np.abs(out - 1.0 * ref), nan=0.0, posinf=0.0) / h
                    worst[i] = np.maximum(worst[i], diff)
        slopes.append(worst)
    return [
        np.where(near > 8 * far, 0.0, np.maximum(near, far))
        for far, near in zip(*slopes, strict=True)
    ]


def bound(ref: Any, moved: Any, dtype: str, elementwise: bool, cancels: float = 0.0) -> Any:
    """The bound of one output, for a result computed in `dtype`."""
    u, finite = UNIT[dtype], np.where(np.isfinite(ref), np.abs(ref), 0.0)
    limit = PATH[dtype] * u * (moved + finite) + TINY[dtype]
    if not elementwise and finite.size:
        limit = limit + 8 * u * max(finite.max(), cancels)
    return limit
