"""python -m bpx bench: rules and kernels, forward + backward, beside the framework's own operation.

The sizes are those in the entries (`Op.bench`), the inputs come from the entries too
(`bpx._inputs`). Candidates take turns in short rounds (`bpx._timing`); the ratio is a candidate's
time over that of the framework's own operation in the same round, so below 1 the candidate is
faster. `--size huge` fills a GPU (`bpx._bench_huge`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bpx
from bpx._bench_gate import exceeding
from bpx._bench_gpu_page import write_gpu_page
from bpx._bench_huge import LABEL
from bpx._bench_jobs import HEALTH, MODELS, jobs, line
from bpx._bench_page import machine, write_page
from bpx._bench_table import table
from bpx._command import CommandError, needs, unknown
from bpx.bench_rows import SIZES

FRAMEWORKS = ("torch", "jax")
DTYPES = ("float32", "float64", "bfloat16", "float16")

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="entries and optimizers; default all"
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
    report: Row = {
        "bpx": bpx.__version__,
        "python": platform.python_version(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "dtype": ", ".join(dtypes),
        **{k: getattr(args, k) for k in ("device", "threads", "repeat", "seconds", "seed")},
        "frameworks": {},
        "rows": [],
    }
    interrupted = False
    for module, bench in _frameworks(args):
        report["frameworks"][module.NAME] = bench.about()
        for dtype in dtypes:
            if interrupted:
                break
            of_dtype = argparse.Namespace(**{**vars(args), "dtype": dtype})
            rows: list[Row] = []
            try:
                for row in _progress(console, module.NAME, jobs(module, bench, of_dtype)):
                    rows.append(row)  # one by one, for an interrupt
            except KeyboardInterrupt:
                interrupted = True
            report["rows"] += rows
            _print(console, module.NAME, report, of_dtype, rows)
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


def _print(console: Any, name: str, report: Row, args: argparse.Namespace, rows: list[Row]) -> None:
    console.print(table(name, report["frameworks"][name], args, rows))
    for row in rows:
        for what in ("failed", "refused"):
            for who, why in row[what].items():
                console.print(f"{row['entry']} {row['size']}: {who} {what}: {why}", markup=False)


def _write_pages(report: Row, folder: Path) -> None:
    """The page of the entries' own sizes, and that of those which fill a GPU."""
    huge = [row for row in report["rows"] if row["label"] == LABEL]
    others = [row for row in report["rows"] if row["label"] != LABEL]
    if others or not huge:
        write_page({**report, "rows": others}, folder)
    if huge:
        write_gpu_page({**report, "rows": huge}, folder)


def _check(args: argparse.Namespace, dtypes: list[str]) -> None:
    known = [*(op.name for op in bpx.ALL), *(o.name for o in bpx.OPTIMIZERS), *MODELS, HEALTH]
    for name in args.names:
        if name not in known:
            raise unknown(name, known)
    for option in ("repeat", "seconds", "threads"):
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


def _frameworks(args: argparse.Namespace) -> list[tuple[Any, Any]]:
    """Each framework's bench module and its Bench; one that is missing is said and skipped."""
    if args.threads is not None:
        os.environ["NPROC"] = str(args.threads)  # XLA reads it when it starts
    found, absent = [], []
    for name in FRAMEWORKS if args.framework is None else (args.framework,):
        try:
            module = importlib.import_module(f"bpx_{name}.bench")
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            absent.append(f"{name} is not installed: pip install 'bpx[{name}]'")
            continue
        try:
            bench = module.Bench(args.device, args.threads)
        except (RuntimeError, AssertionError) as error:
            raise CommandError(f"{name} has no device {args.device!r}: {line(error)}") from error
        found.append((module, bench))
    if not found:
        raise CommandError("; ".join(absent))
    for sentence in absent:
        print(f"bpx: {sentence}", file=sys.stderr)
    return found


def _progress(console: Any, name: str, jobs: list[Callable[[], Row]]) -> Iterator[Row]:
    progress = importlib.import_module("rich.progress")
    bar = progress.track(
        jobs,
        description=f"bpx bench {name}",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for job in bar:
        yield job()
