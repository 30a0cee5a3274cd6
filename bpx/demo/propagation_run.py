"""python -m bpx demo --init: signals and gradients through many layers, start by start."""

from __future__ import annotations

import importlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import bpx
from bpx.demo import propagation, propagation_page
from bpx.demo.propagation import Results


def run(names: list[str], folder: Path, seed: int) -> int:
    """Run, print the table and the words, write the page. Returns 1 where a limit does not hold."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    engines = {}
    for name in names:
        importlib.import_module(f"bpx_{name}.demo").prepare("float64")
        engines[name] = importlib.import_module(f"bpx_{name}.propagation")
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), transient=True) as bar:
        task = bar.add_task("", total=None)
        results = propagation.run(engines, seed, lambda said: bar.update(task, description=said))
    show(results)
    versions = {"bpx": bpx.__version__, "seed": str(seed), "Python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("numpy", *names)}
    propagation_page.write(folder / propagation_page.NAME, results, versions)
    limits = propagation_page.held(results)
    for what, limit, found, holds in limits:
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {what}: {found}, {limit}")
    print(f"{(folder / propagation_page.NAME).resolve()}")
    return int(not all(holds for *_, holds in limits))


def show(results: Results) -> None:
    from rich.console import Console
    from rich.table import Table

    console: Any = Console()
    if not console.is_terminal:
        console = Console(width=140)
    first = results.names[0]
    table = Table(title=f"{first}: variances through {propagation.DEPTH} layers")
    for i, head in enumerate(propagation_page.HEAD):
        table.add_column(head, justify="right" if 1 < i < 8 else "left")
    before = None
    for row in propagation_page.rows(results.passages[first]):
        if before not in (None, row[0]):
            table.add_section()
        before = row[0]
        table.add_row(*row)
    console.print(table)
    for words in propagation_page.reading(results):
        console.print(words, highlight=False)
