"""python -m bpx bench: rules and kernels, forward + backward, beside the framework's own operation.

The sizes are those in the entries (`Op.bench`), the inputs come from the entries too
(`bpx._inputs`). Candidates take turns in short rounds (`bpx._timing`); the ratio is a candidate's
time over that of the framework's own operation in the same round, so below 1 the candidate is
faster.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bpx
from bpx._bench_table import table
from bpx._command import CommandError, needs, unknown
from bpx._timing import Prepared, rounds, spread

FRAMEWORKS = ("torch", "jax")
DTYPES = ("float32", "float64", "bfloat16", "float16")

# What an optimizer steps over: many small tensors, where calls cost; large ones, where memory does.
SMALL = [(32, 16), (32,)] * 50
LARGE = [(1024, 1024), (1024,)] * 8
PARAMETERS = (SMALL, LARGE)
MATRICES = frozenset({"muon"})  # torch.optim's takes nothing else

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="entries and optimizers; default all"
    )
    parser.add_argument("--framework", choices=FRAMEWORKS, help="default: those that are installed")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="rounds (default 20)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="at most, per row (default 2)"
    )
    parser.add_argument(
        "--size", choices=("small", "all"), default="all", help="small: one row each"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 when a candidate raised (the others are timed all the same)."""
    _check(args)
    console = needs("rich.console", "demo").Console(width=None if sys.stdout.isatty() else 140)
    report: Row = {
        "bpx": bpx.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **{
            k: getattr(args, k) for k in ("dtype", "device", "threads", "repeat", "seconds", "seed")
        },
        "frameworks": {},
        "rows": [],
    }
    for module, bench in _frameworks(args):
        about = bench.about()
        report["frameworks"][module.NAME] = about
        rows = list(_progress(console, module.NAME, _jobs(module, bench, args)))
        report["rows"] += rows
        console.print(table(module.NAME, about, args, rows))
        for row in rows:
            for what in ("failed", "refused"):
                for who, why in row[what].items():
                    console.print(
                        f"{row['entry']} {row['size']}: {who} {what}: {why}", markup=False
                    )
    if args.json is not None:
        try:
            Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
        except OSError as error:
            raise CommandError(f"--json {args.json}: {error.strerror}") from error
    return int(any(row["failed"] for row in report["rows"]))


def _check(args: argparse.Namespace) -> None:
    known = [*(op.name for op in bpx.ALL), *(o.name for o in bpx.OPTIMIZERS)]
    for name in args.names:
        if name not in known:
            raise unknown(name, known)
    for option in ("repeat", "seconds", "threads"):
        value = getattr(args, option)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise CommandError(f"--{option} is {value}, expected a number above 0")
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
            raise CommandError(f"{name} has no device {args.device!r}: {_line(error)}") from error
        found.append((module, bench))
    if not found:
        raise CommandError("; ".join(absent))
    for sentence in absent:
        print(f"bpx: {sentence}", file=sys.stderr)
    return found


def _jobs(module: Any, bench: Any, args: argparse.Namespace) -> list[Callable[[], Row]]:
    """One measurement each, in the order of the entries."""
    jobs: list[Callable[[], Row]] = []

    def add(name: str, dims: Row, prepare: Callable[[], Prepared]) -> None:
        jobs.append(lambda: measure(module.NAME, name, dims, prepare, args.repeat, args.seconds))

    def wanted(name: str, known: tuple[str, ...]) -> bool:
        return name in known and (not args.names or name in args.names)

    for op in bpx.ALL:
        ordered = sorted(op.bench, key=lambda row: math.prod(row.values()))
        for dims in ordered[: 1 if args.size == "small" else None]:
            if wanted(op.name, module.RULE_NAMES):
                add(op.name, dict(dims), _later(bench.prepare, op.name, dims, args))
    for o in bpx.OPTIMIZERS:
        for shapes in PARAMETERS[: 1 if args.size == "small" else None]:
            shapes = [s for s in shapes if len(s) == 2 or o.name not in MATRICES]
            if wanted(o.name, module.OPTIMIZER_NAMES):
                dims = {"tensors": len(shapes), "elements": sum(map(math.prod, shapes))}
                add(o.name, dims, _later(bench.prepare_optimizer, o.name, shapes, args))
    return jobs


def _later(
    prepare: Callable[..., Prepared], name: str, sizes: Any, args: Any
) -> Callable[[], Prepared]:
    return lambda: prepare(name, sizes, args.dtype, args.seed)


def measure(
    framework: str,
    name: str,
    dims: Row,
    prepare: Callable[[], Prepared],
    repeat: int,
    seconds: float,
) -> Row:
    """One row of the report. Times are medians in seconds per call."""
    row: Row = {"entry": name, "framework": framework, "dims": dims, "candidates": []}
    row["size"] = " x ".join(f"{k} {v:,}" for k, v in dims.items())
    row["failed"], row["refused"] = {}, {}
    try:
        prepared = prepare()
        times = rounds(prepared.candidates, repeat, seconds)
    except Exception as error:
        row["failed"]["comparison"] = f"{type(error).__name__}: {_line(error)}"
        return row
    row["refused"] = dict(prepared.refused)
    for label, candidate in prepared.candidates.items():
        own = times.get(candidate.beside)
        ratio = (
            None if own is None else spread([a / b for a, b in zip(times[label], own, strict=True)])
        )
        row["candidates"].append(
            {
                "name": label,
                "default": label == prepared.default,
                "beside": candidate.beside,
                "seconds": statistics.median(times[label]),
                "rounds": len(times[label]),
                "ratio": None if ratio is None else asdict(ratio),
                "saved": None if candidate.saved is None else asdict(candidate.saved),
            }
        )
    return row


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


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
