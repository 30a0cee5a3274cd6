"""Whether a difference is rounding: what the rule itself loses in float32 is 2^29 times what it
loses in float64, and a wrong formula is wrong by the same in both.

For places where the reference says nothing of the size of the terms: an exact zero (a norm over one
element, the query of one key), or two results of the rule that should be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bpx.verify.bound import UNIT
from bpx.verify.candidate.measure import WIDEST

SHRINKS = UNIT["float64"] / UNIT["float32"]  # 2^-29
SAMPLES = 4
FACTOR = 16.0  # of the noise of a formula another sample of it may have so much


def lost(low: Any, high: Any) -> Any:
    """What a result loses in float64, from the same in float32 and in float64."""
    with np.errstate(all="ignore"):
        off = np.abs(low - high)
    off = np.where(np.isfinite(off), off, 0.0) * SHRINKS
    return FACTOR * off + FACTOR / 4 * off.max(initial=0.0)


def too_much(got: Any, want: Any, dtype: str, size: float) -> bool:
    """Whether a difference is no rounding whatever other runs would say: the verdict of `vanishes`
    without what it costs to run the rule again."""
    off = float(np.abs(got - want).max(initial=0.0))
    most = WIDEST * size
    return not off <= (
        FACTOR * UNIT["float64"] * most if dtype == "float64" else UNIT["float32"] * most
    )


def vanishes(got: Any, others: Sequence[Any], want: Any, dtype: str, size: float) -> float:
    """Of a result where `want` is 0 or rounding: how far it is from being rounding, 1 or less where
    it is. `others` are results of the call, and of some near it, in float32 if `dtype` is float64,
    otherwise in float64; `size` is that of what went in."""
    most = float(np.abs(got - want).max(initial=0.0))
    other = max(float(np.abs(o - want).max(initial=0.0)) for o in others)
    fine, coarse = (most, other) if dtype == "float64" else (other, most)
    if not (np.isfinite([fine, coarse]).all() and size):
        return float("inf")
    allowed = FACTOR * SHRINKS * coarse
    ratio = fine / allowed if allowed else float("inf") if fine else 0.0
    return max(ratio, coarse / (WIDEST * UNIT["float32"] * size))


def near(inputs: Sequence[Any], dys: Sequence[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The arrays of a call, and some within a thousandth of them."""
    rng = np.random.default_rng(5)
    for k in range(SAMPLES):
        yield tuple(
            [
                a * (1 + 1e-3 * bool(k) * rng.uniform(-1, 1, np.shape(a)))
                if a is not None and np.asarray(a).dtype.kind == "f"
                else a
                for a in arrays
            ]
            for arrays in (inputs, dys)
        )  # type: ignore[misc]
