"""python -m bpx bench: rules and kernels, forward + backward, beside the framework's own operation.

The sizes are those in the entries (`Op.bench`), the inputs come from the entries too
(`bpx._inputs`); the names that bpx_torch.nn and bpx_torch.functional offer are timed beside
torch's at the sizes of `bpx.bench_faces`. Candidates take turns in short rounds (`bpx._timing`);
the ratio is a candidate's time over that of the framework's own operation in the same round, so
below 1 the candidate is faster. `--size huge` fills a GPU (`bpx._bench_huge`), `--processes` pools
the rounds of several processes (`bpx._bench_processes`).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

import bpx
from bpx._bench_gate import exceeding
from bpx._bench_gpu_page import write_gpu_page
from bpx._bench_huge import LABEL
from bpx._bench_jobs import HEALTH, MODELS
from bpx._bench_measure import FRAMEWORKS, measured
from bpx._bench_page import write_page
from bpx._bench_processes import together
from bpx._bench_table import table
from bpx._command import CommandError, needs, unknown
from bpx.bench_faces import FACES
from bpx.bench_rows import SIZES

DTYPES = ("float32", "float64", "bfloat16", "float16")

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="entries, optimizers, torch's names; default all"
    )
    parser.add_argument("--framework", choices=FRAMEWORKS, help="default: those that are installed")
    parser.add_argument(
        "--dtype", nargs="+", action="extend", choices=DTYPES, help="one or more; default float32"
    )
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="rounds (default 20)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="at most, per row (default 2)"
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        metavar="N",
        help="measure in N new processes, one after another, and pool their rounds (default 1)",
    )
    parser.add_argument(
        "--size",
        nargs="+",
        choices=(*SIZES, LABEL),
        default=SIZES,
        help=f"of the entries; default all but {LABEL}, which fills a GPU",
    )
    parser.add_argument("--compile", action="store_true", help="time torch.compile's too")
    parser.add_argument(
        "--scaling", action="store_true", help="cost against one size, and against threads"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--page", metavar="DIR", help="write a page with plots there")
    parser.add_argument(
        "--gate", action="store_true", help="exit 1 where a ratio exceeds its limit in the entry"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 when a candidate raised (the others are timed all the same), or with --gate
    when one is above its limit, or 130 when interrupted: what was timed is written all the same."""
    dtypes = list(dict.fromkeys(args.dtype or ["float32"]))
    _check(args, dtypes)
    console = needs("rich.console", "demo").Console(width=None if sys.stdout.isatty() else 140)
    if args.processes == 1:
        report, interrupted = measured(args, dtypes, console, partial(_print, console, args))
    else:
        report, interrupted = together(args, dtypes)
        for framework in report["frameworks"]:
            for dtype in dtypes:
                _print(console, args, report, framework, dtype)
    if args.json is not None:
        try:
            Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
        except OSError as error:
            raise CommandError(f"--json {args.json}: {error.strerror}") from error
    if args.page is not None:
        _write_pages(report, Path(args.page))
    above = list(exceeding(report["rows"])) if args.gate else []
    for sentence in above:
        console.print(sentence, markup=False)
    if interrupted:
        return 130
    return int(bool(above) or any(row["failed"] for row in report["rows"]))


def _print(console: Any, args: argparse.Namespace, report: Row, name: str, dtype: str) -> None:
    rows = [r for r in report["rows"] if (r["framework"], r["dtype"]) == (name, dtype)]
    of_dtype = argparse.Namespace(**{**vars(args), "dtype": dtype})
    console.print(table(name, report["frameworks"][name], of_dtype, rows))
    for row in rows:
        for what in ("failed", "refused"):
            for who, why in row[what].items():
                console.print(f"{row['entry']} {row['size']}: {who} {what}: {why}", markup=False)


def _write_pages(report: Row, folder: Path) -> None:
    """The page of the entries' own sizes, those of torch.nn's names and of what fills a GPU."""
    huge = [row for row in report["rows"] if row["label"] == LABEL]
    rest = [row for row in report["rows"] if row["label"] != LABEL]
    faces = [row for row in rest if row["entry"] in FACES]
    others = [row for row in rest if row["entry"] not in FACES]
    if others or not (huge or faces):
        write_page({**report, "rows": others}, folder)
    if faces:
        write_page({**report, "rows": faces}, folder, "faces", "Benchmark of torch.nn's names")
    if huge:
        write_gpu_page({**report, "rows": huge}, folder)


def _check(args: argparse.Namespace, dtypes: list[str]) -> None:
    known = [op.name for op in bpx.ALL] + [o.name for o in bpx.OPTIMIZERS]
    known += [*FACES, *MODELS, HEALTH]
    for name in args.names:
        if name not in known:
            raise unknown(name, known)
    for option in ("repeat", "seconds", "threads", "processes"):
        value = getattr(args, option)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise CommandError(f"--{option} is {value}, expected a number above 0")
    if LABEL in args.size and (args.framework is None or not args.device.startswith("cuda")):
        raise CommandError(
            f"--size {LABEL} is for a GPU: it takes --device cuda and one --framework, which needs "
            "its memory alone"
        )
    if args.page is not None and len(dtypes) > 1 and set(args.size) != {LABEL}:
        raise CommandError(f"--page takes one --dtype, or --size {LABEL} alone; got {dtypes}")
    if args.page is not None and not Path(args.page).is_dir():
        raise CommandError(f"--page {args.page}: there is no such folder")
    if args.json is not None and not Path(args.json).resolve().parent.is_dir():
        raise CommandError(f"--json {args.json}: there is no such folder")
