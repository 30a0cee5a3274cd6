"""The measurements of `python -m bpx bench` that one process makes."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import random
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import bpx
from bpx._bench_jobs import jobs, line
from bpx._bench_page import machine
from bpx._command import CommandError

FRAMEWORKS = ("torch", "jax")

Row = dict[str, Any]
Show = Callable[[Row, str, str], None]


def measured(
    args: argparse.Namespace,
    dtypes: list[str],
    console: Any,
    show: Show,
    note: str = "",
    shuffle: random.Random | None = None,
) -> tuple[Row, bool]:
    """(the report, whether an interrupt ended it early). show(report, framework, dtype) is called
    whenever the rows of these are complete, or as many as there will be. `shuffle` is for another
    order; each row's "place" then says where it belongs."""
    report: Row = {
        "bpx": bpx.__version__,
        "python": platform.python_version(),
        "machine": machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "dtype": ", ".join(dtypes),
        **{k: getattr(args, k) for k in ("device", "threads", "repeat", "seconds", "processes")},
        "seed": args.seed,
        "frameworks": {},
        "rows": [],
    }
    interrupted = False
    for module, bench in _frameworks(args):
        report["frameworks"][module.NAME] = bench.about()
        for dtype in dtypes:
            if interrupted:
                break
            made = jobs(module, bench, argparse.Namespace(**{**vars(args), "dtype": dtype}))
            if shuffle is not None:
                made = [partial(_placed, job, place) for place, job in enumerate(made)]
                shuffle.shuffle(made)
            try:
                for row in _progress(console, f"bpx bench {module.NAME}{note}", made):
                    report["rows"].append(row)  # one by one, for an interrupt
            except KeyboardInterrupt:
                interrupted = True
            show(report, module.NAME, dtype)
    return report, interrupted


def _placed(job: Callable[[], Row], place: int) -> Row:
    return {**job(), "place": place}


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
        description=name,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for job in bar:
        yield job()
