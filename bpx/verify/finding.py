"""What one comparison found, and the one measure of error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx.verify.bound import UNIT


@dataclass(frozen=True)
class Finding:
    """One comparison. `eps` is max|got - want| / (eps(dtype) max|want|); `ratio` is the worst
    |got - want| over its bound, above 1 a failure. `skipped` says why nothing was compared."""

    entry: str
    framework: str
    kernel: str
    leg: str
    case: str
    what: str
    dtype: str = "float64"
    eps: float = 0.0
    ratio: float = 0.0
    message: str = ""
    skipped: str = ""

    @property
    def ok(self) -> bool:
        return not self.message and self.ratio <= 1.0

    def __str__(self) -> str:
        where = (
            f"{self.framework} {self.entry}[{self.kernel}] {self.leg}, {self.case}, {self.dtype}"
        )
        if self.skipped:
            return f"{where}: {self.what} skipped: {self.skipped}"
        if self.message:
            return f"{where}: {self.what}: {self.message}"
        return f"{where}: {self.what} {self.eps:.1f} eps, {self.ratio:.3g} of its bound"


def compare(
    got: Any, want: Any, limit: Any, dtype: str, cancels: float = 0.0
) -> tuple[float, float, str]:
    """(eps, ratio, message) of a result against a reference with a bound per element. Where terms
    cancel to nothing, `cancels` is their size, and what the error is measured by."""
    if got is None or want is None:
        return 0.0, 0.0, "" if got is want else f"is {_kind(got)}, expected {_kind(want)}"
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape:
        return 0.0, 0.0, f"has shape {got.shape}, expected {want.shape}"
    if not want.size:
        return 0.0, 0.0, ""
    special = ~np.isfinite(want)
    if not np.array_equal(got[special], want[special], equal_nan=True):
        return 0.0, 0.0, f"is {got[special][0]} where {want[special][0]} is expected"
    if not np.isfinite(got[~special]).all():
        bad = got[~special][~np.isfinite(got[~special])][0]
        return 0.0, 0.0, f"holds {bad} where a finite value is expected"
    diff = np.where(
        special, 0.0, np.abs(np.where(special, 0.0, got) - np.where(special, 0.0, want))
    )
    scale = max(float(np.abs(want[~special]).max(initial=0.0)), cancels)
    unit = 2 * UNIT[dtype] * scale  # 0 for the smallest of scales
    eps = float(diff.max()) / unit if unit else float(diff.max() > 0) * 1e99
    return (0.0 if not diff.any() else eps), float((diff / limit).max()), ""


def _kind(value: Any) -> str:
    return "absent" if value is None else "an array"
