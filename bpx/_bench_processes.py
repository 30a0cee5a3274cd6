"""`python -m bpx bench --processes N`: the rounds of N new processes, put together.

Which pages a process was given, and whether the C library hands freed memory back, moves a ratio by
up to a tenth, and to twice where an array is as large as the library's limits, for as long as the
process lives. More rounds do not average that out; more processes do, each with the rows in another
order, since what was allocated before decides it. They run one after another, so what else the
machine does in a minute counts less, too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from bpx._bench_jobs import figures
from bpx._bench_measure import measured
from bpx._command import CommandError, needs

Row = dict[str, Any]


def together(args: argparse.Namespace, dtypes: list[str]) -> tuple[Row, bool]:
    """(the report, whether an interrupt ended it early). An interrupt leaves the rounds that were
    timed until then."""
    reports: list[Row] = []
    interrupted = False
    for i in range(args.processes):
        if interrupted:
            break
        spawn = multiprocessing.get_context("spawn")  # nothing of this process goes along
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            future = pool.submit(_measure, args, dtypes, i)
            while True:
                try:
                    report, ended = future.result()
                    reports.append(report)
                    interrupted |= ended
                except KeyboardInterrupt:  # the process was told so, too, and ends with its rows
                    interrupted = True
                    continue
                except BrokenProcessPool as error:
                    if not interrupted:
                        raise CommandError(f"process {i + 1} of {args.processes} died") from error
                break
    if not reports:
        raise KeyboardInterrupt
    return pooled(reports, dtypes), interrupted


def _measure(args: argparse.Namespace, dtypes: list[str], i: int) -> tuple[Row, bool]:
    console = needs("rich.console", "demo").Console(stderr=not sys.stdout.isatty())
    note = f", process {i + 1} of {args.processes}"
    order = random.Random(f"{args.seed} {i}")
    return measured(args, dtypes, console, lambda *_: None, note, order)


def pooled(reports: list[Row], dtypes: list[str]) -> Row:
    """The first report with the rounds of all, in the order of the entries. A report may lack rows:
    an interrupt ended it."""
    first = reports[0]
    rows: dict[tuple[int, int, int], list[Row]] = {}
    for report in reports:
        for row in report["rows"]:
            framework = list(first["frameworks"]).index(row["framework"])
            at = framework, dtypes.index(row["dtype"]), row["place"]
            rows.setdefault(at, []).append(row)
    return {**first, "rows": [_row(rows[key]) for key in sorted(rows)]}


def _row(rows: list[Row]) -> Row:
    """The same row of several processes. What failed or was refused in one is said; the rounds of
    those count that have timed every candidate."""
    most = max((row["candidates"] for row in rows), key=len)
    times: dict[str, list[float]] = {c["name"]: [] for c in most}
    for row in rows:
        if len(row["candidates"]) == len(most):
            for c in row["candidates"]:
                times[c["name"]] += c["times"]
    made = [{**c, **figures(c["name"], c["beside"], times)} for c in most]
    about = {k: v for k, v in rows[0].items() if k != "place"}
    said = {k: {w: why for row in rows for w, why in row[k].items()} for k in ("failed", "refused")}
    return {**about, **said, "candidates": made}
