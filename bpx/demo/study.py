"""python -m bpx study: the digits by exact back-propagation and by two kinds of feedback alignment.

Writes feedback-alignment.json (every number), .svg (the pictures) and .md (the page) to a folder.
The page in docs/ is written with --out docs; `python -m bpx docs --check` compares it with the
numbers beside it and trains nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpx._command import needs
from bpx.demo import study_page
from bpx.demo.command import writable
from bpx.demo.settings import FRAMEWORKS, _whole

PACKAGES = ("sklearn", "matplotlib", "rich")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", default="20", help="default 20")
    parser.add_argument("--seed", default="0", help="default 0")
    parser.add_argument("--framework", choices=FRAMEWORKS, default="torch", help="default torch")
    parser.add_argument("--out", default="bpx-study", metavar="DIR", help="default bpx-study")


def run(args: argparse.Namespace) -> int:
    """Train, print the table, write the three files. Raises CommandError."""
    epochs, seed = _whole("--epochs", args.epochs, 1), _whole("--seed", args.seed, 0, 2**32 - 1)
    for package in PACKAGES:
        needs(package, "demo")
    needs(args.framework, args.framework)
    folder = writable(Path(args.out))
    study = trained(args.framework, epochs, seed)
    results = asdict(study)
    (folder / study_page.RESULTS).write_text(json.dumps(results) + "\n", encoding="utf-8")
    (folder / study_page.PICTURE).write_text(study_page.picture(results), encoding="utf-8")
    (folder / study_page.PAGE).write_text(study_page.page(results), encoding="utf-8")
    show(results)
    print(f"{(folder / study_page.PAGE).resolve()}")
    return 0


def trained(framework: str, epochs: int, seed: int) -> Any:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from bpx.demo import feedback

    module = importlib.import_module(f"bpx_{framework}.study")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task("study", total=len(feedback.RULES) * (epochs + 1))
        return feedback.run(
            module.gradients,
            module.scores,
            framework,
            epochs,
            seed,
            lambda said: bar.update(task, advance=1, description=said),
        )


def show(results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    table = Table(title=f"digits, {results['epochs']} epochs, seed {results['seed']}")
    head, rows = study_page.rows(results)
    for i, name in enumerate(head):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
