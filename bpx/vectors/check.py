"""Results of another framework beside the vectors: every key, every element, within its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bpx.convert._arrays import is_floating, widened
from bpx.vectors.build import BOUNDS, DTYPES
from bpx.verify.bound import UNIT
from bpx.verify.finding import compare

# what a framework may keep in another form, or not at all
OPTIONAL = ("residuals/", "states/")


@dataclass
class Checked:
    """What the comparison of one entry found.

    eps       dtype -> the worst error, in eps of the dtype times the largest expected value
    ratio     dtype -> the worst error over its bound; above 1 is wrong
    compared  arrays that were compared
    absent    cases, each in one dtype, that have no result at all
    wrong     a sentence for each wrong, missing or surplus key
    """

    entry: str
    eps: dict[str, float] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    compared: int = 0
    absent: int = 0
    wrong: list[str] = field(default_factory=list)


def check(
    entry: str,
    vectors: Mapping[str, Any],
    results: Mapping[str, Any],
    cancels: Mapping[str, float],
    *,
    partial: bool = False,
    textbook: bool = False,
) -> Checked:
    """Compare one entry's results. `cancels` has each case's size of terms that cancel.

    With `partial` a case that has no result in a dtype is counted and not wrong. With `textbook`
    rounding of an array's largest element is allowed to all of its elements: what autodiff of a
    textbook formula is good for. Residuals and states may be left out, everything else may not."""
    found = Checked(entry)
    expected = {k: k.replace(f"/{BOUNDS}", "/", 1) for k in vectors if f"/{BOUNDS}" in k}
    begun = {_place(k) for k in results}
    left_out = {_place(k) for k in expected.values()} - begun
    found.absent = len(left_out)
    for bound, key in sorted(expected.items(), key=lambda pair: pair[1]):
        case, dtype, what = key.split("/", 2)
        if key in results:
            limit, cancel = vectors[bound], cancels[case]
            if textbook:
                limit = limit + 8 * UNIT[dtype] * _largest(vectors[key])
            _compare(found, key, results[key], vectors[key], limit, cancel)
        elif (partial and (case, dtype) in left_out) or what.startswith(OPTIONAL):
            continue
        else:
            found.wrong.append(f"{entry}: {key} is missing")
    surplus = sorted(set(results) - set(expected.values()))
    found.wrong += [f"{entry}: {key} is not asked for" for key in surplus]
    return found


def _compare(found: Checked, key: str, got: Any, want: Any, limit: Any, cancels: float) -> None:
    dtype = key.split("/", 2)[1]
    assert dtype in DTYPES
    found.compared += 1
    got = widened(got) if is_floating(got) else got.astype(np.float64)
    eps, ratio, message = compare(got, np.asarray(want, np.float64), limit, dtype, cancels)
    found.eps[dtype] = max(found.eps.get(dtype, 0.0), eps)
    found.ratio[dtype] = max(found.ratio.get(dtype, 0.0), ratio)
    if message:
        found.wrong.append(f"{found.entry}: {key} {message}")
    elif not ratio <= 1.0:
        found.wrong.append(
            f"{found.entry}: {key} is off by {eps:.3g} eps, {ratio:.3g} of its bound"
        )


def _place(key: str) -> tuple[str, str]:
    """The case and dtype of a key; of a foreign one, whatever stands there."""
    case, dtype, *_ = [*key.split("/", 2), ""]
    return case, dtype


def _largest(want: Any) -> float:
    a = np.abs(np.asarray(want, np.float64))
    return float(a[np.isfinite(a)].max(initial=0.0))
