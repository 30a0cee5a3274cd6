"""Which figures of a bench report exceed the limit that their entry states."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]


def exceeding(report: list[Row]) -> Iterator[str]:
    """A sentence for every row whose default candidate is above its limit."""
    for row in report:
        found = default_ratio(row)
        if found is not None and row["limit"] is not None and found > row["limit"]:
            yield (
                f"{row['framework']} {row['entry']}, {row['label']}: ratio {found:.2f}, "
                f"limit {row['limit']:g}"
            )


def default_ratio(row: Row) -> float | None:
    """The median ratio of what a plain call runs, None where the framework has nothing alike."""
    for candidate in row["candidates"]:
        if candidate["default"] and candidate["ratio"] is not None:
            return float(candidate["ratio"]["median"])
    return None


def geometric_mean(ratios: list[float]) -> float:
    """NaN of none."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan
