"""How far a candidate may lie from its reference: derived for every element, as in bound.py.

    bound_i = K (d_i + u |ref_i|) + o_i + c u max|ref| + tiny        K = 64, c = 8; 4 and 4 in half

d_i   movement of ref_i under relative perturbations of the inputs by u (0 at jumps)
o_i   in float32 and float64: 16 l_i + 4 max l, where l is what the same formula loses there, the
      most of four samples: |the reference run in float32 - ref|, in float64 times 2^-29, and for a
      specification |ref - the same run in long double|, where that is wider. Of this noise another
      formula may have a few times more. Half precision has no such term: a
      rule computes in float32 there and rounds what it returns; but where the reference run in half
      precision overflows, nothing is compared.

Where o_i is beyond 1e4 u max|ref| the reference is unstable, and the element is not compared: an
unstable reference cannot widen its own bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bpx.verify.bound import TINY, UNIT, movement
from bpx.verify.finding import compare

K = {"float64": 64.0, "float32": 64.0, "bfloat16": 4.0, "float16": 4.0}
MOST = {"float64": np.inf, "float32": 3.4028e38, "bfloat16": 3.3895e38, "float16": 65504.0}
WIDEST = 1e4  # units of roundoff of the largest element; beyond it a reference is unstable
Arrays = Sequence[Any]


def limits(f: Callable[[Arrays], list[Any]], inputs: Arrays, refs: Arrays, dtype: str) -> list[Any]:
    """A bound for every element of `refs` = f(inputs), without o_i."""
    u, found = UNIT[dtype], []
    share = 8.0 if K[dtype] > 4 else 4.0
    for ref, moved in zip(refs, movement(f, inputs, refs), strict=True):
        finite = np.where(np.isfinite(ref), np.abs(ref), 0.0)
        largest = float(finite.max(initial=0.0))
        found.append(K[dtype] * u * (moved + finite) + share * u * largest + TINY[dtype])
    return found


def widened(
    bounds: Arrays, refs: Arrays, runs: Sequence[tuple[str, Arrays, Arrays]], dtype: str
) -> list[Any]:
    """The bounds with o_i; infinite where the reference is unstable. `runs` are of the reference at
    the point, first, and near it: a dtype, what is exact beside it, and what was lost in it."""
    u, found = UNIT[dtype], []
    for i, (limit, ref) in enumerate(zip(bounds, refs, strict=True)):
        if any(np.shape(low[i]) != np.shape(ref) for _, _, low in runs):
            found.append(limit)
            continue
        with np.errstate(all="ignore"):
            lost = [np.abs(low[i] - high[i]) * (u / UNIT[kind]) for kind, high, low in runs]
        if K[dtype] <= 4:
            found.append(np.where(np.isfinite(runs[0][2][i]), limit, np.inf))
            continue
        lost_most = np.max(lost, axis=0)
        most = float(lost_most[np.isfinite(lost_most)].max(initial=0.0))
        largest = np.abs(np.where(np.isfinite(ref), ref, 0.0)).max(initial=0.0)
        unstable = ~(lost_most <= WIDEST * u * float(largest))
        found.append(np.where(unstable, np.inf, limit + 16 * lost_most + 4 * most))
    return found


def measured(got: Any, want: Any, limit: Any, dtype: str) -> dict[str, Any]:
    """The error of a result. Where the reference is not finite nothing is compared: the formula of
    the reference may overflow where a better one does not."""
    if got is None:
        if not np.nan_to_num(want).any():
            return {}
        return {"message": "is absent, expected an array that is not zero"}
    got = np.asarray(got)
    if got.shape != want.shape:
        return {"message": f"has shape {got.shape}, expected {want.shape}"}
    finite = (np.abs(want) <= MOST[dtype]) & np.isfinite(want) & np.isfinite(limit)
    if want.size and not finite.any():
        return {"skipped": "the reference is not finite, or unstable, here"}
    got, limit = np.where(finite, got, 0.0), np.where(finite, limit, 1.0)
    eps, ratio, message = compare(got, np.where(finite, want, 0.0), limit, dtype)
    return {"eps": eps, "ratio": ratio, "message": message}


def largest(values: Any) -> float:
    """The largest magnitude that is finite, 0 where there is none."""
    return float(np.abs(np.where(np.isfinite(values), values, 0.0)).max(initial=0.0))
