"""The figures of `python -m bpx bench` as a table for the terminal."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from bpx._bench_gpu_page import share, total_peak
from bpx._bench_huge import LABEL

Row = dict[str, Any]


def table(name: str, about: Row, args: argparse.Namespace, rows: list[Row]) -> Any:
    threads = f"{about['threads']} threads" if about.get("threads") else "all threads"
    found = importlib.import_module("rich.table").Table(
        title=f"{name} {about[name]}, {args.dtype}, {about.get('device', args.device)}, {threads}: "
        "forward + backward, an optimizer's step",
        caption="ratio: time over that of the framework's own operation in the same round (foreach "
        "over foreach), median (quartiles). kept: bytes made in forward and alive until backward + "
        "arguments kept. *: what a plain call runs",
    )
    for heading in ("entry", "size", "candidate"):
        found.add_column(heading)
    huge = any(row["label"] == LABEL for row in rows)
    for heading in ("time", "ratio", "kept", *(("of a copy", "peak") if huge else ())):
        found.add_column(heading, justify="right")
    for row in rows:
        head = (row["entry"], row["size"])
        for c in row["candidates"]:
            cells = [c["name"] + " *" * c["default"], _seconds(c["seconds"]), _ratio(c), _saved(c)]
            if huge:
                part, peak = share(row, c), total_peak(row, c)
                cells.append("" if part is None else f"{part:.0%}")
                cells.append("" if peak is None else f"{peak / 1e9:.2f} GB")
            found.add_row(*head, *cells)
            head = ("", "")
    return found


def _seconds(s: float) -> str:
    return f"{s * 1e6:.1f} us" if s < 1e-3 else f"{s * 1e3:.2f} ms" if s < 1 else f"{s:.2f} s"


def _ratio(candidate: Row) -> str:
    r = candidate["ratio"]
    if r is None or candidate["name"] == candidate["beside"]:
        return ""
    return f"{r['median']:.2f} ({r['low']:.2f}-{r['high']:.2f})"


def _saved(candidate: Row) -> str:
    s = candidate["saved"]
    return "" if s is None else f"{_bytes(s['made'])} + {_bytes(s['arguments'])}"


def _bytes(n: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024  # type: ignore[assignment]
    return f"{n:.4g} GiB"
