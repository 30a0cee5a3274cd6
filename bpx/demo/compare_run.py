"""python -m bpx demo --compare: run every method in every framework, with a bar and a checkpoint.

The checkpoint holds the methods that are finished, in bpx.compare's header which and how they
ended; what was stopped in the middle is run again.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bpx._command import CommandError
from bpx.demo import checkpoint, compare, compare_page
from bpx.demo.compare import METHODS, Curve

NAME, KEY, FORMAT = "compare.safetensors", "bpx.compare", 1
Curves = dict[tuple[str, str], Curve]  # (framework, method) -> its curve


def run(names: list[str], folder: Path, seed: int, budget: int, resume: bool, again: str) -> int:
    """Returns 0; 1 where a limit does not hold; 130 after Ctrl-C. Raises CommandError."""
    console: Any = Console()
    if not console.is_terminal:
        console = Console(width=120)
    task = compare.task(seed)
    problems = {
        name: importlib.import_module(f"bpx_{name}.compare").Problem(
            compare.SIZES, compare.PENALTY, task.x, task.y
        )
        for name in names
    }
    path = folder / NAME
    about = {"format": FORMAT, "frameworks": names, "seed": seed, "evaluations": budget}
    curves = load(path, about, len(task.start)) if resume else {}
    try:
        watched(console, problems, task, budget, curves, path, about)
    except KeyboardInterrupt:
        total = len(names) * len(METHODS)
        said = f"stopped after {len(curves)} of {total} runs, saved {path}"
        with checkpoint.uninterrupted():
            save(path, curves, about)
            console.print(f"{said}\nto go on: {again}", highlight=False, soft_wrap=True)
        return 130
    results = compare_page.Results(seed, budget, names, task, problems, curves)
    console.print(table(results))
    limits = compare_page.limits(results)
    for limit in limits:
        word = "holds" if limit.holds else "DOES NOT HOLD"
        console.print(f"{word}: {limit.what}: {limit.found}, {limit.limit}", highlight=False)
    page = folder / compare_page.NAME
    compare_page.write(page, results)
    console.print(f"report: {page.resolve()}", highlight=False, soft_wrap=True)
    return int(any(limit.holds is False for limit in limits))


def watched(
    console: Any,
    problems: dict[str, Any],
    task: compare.Task,
    budget: int,
    curves: Curves,
    path: Path,
    about: dict[str, Any],
) -> None:
    """Every run that `curves` does not have yet, added to it and saved."""
    label = TextColumn("{task.description}")
    columns = (label, BarColumn(), TextColumn("{task.fields[spent]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        for name, problem in problems.items():
            for method in METHODS:
                if (name, method) in curves:
                    continue
                row = bar.add_task(f"{method}, {name}", total=budget, spent="")

                def tick(spent: float, row: Any = row) -> None:
                    bar.update(row, completed=spent, spent=f"{spent:.0f}/{budget} evaluations")

                curves[name, method] = compare.train(method, problem, task, budget, tick)
                bar.remove_task(row)
                save(path, curves, about)


def table(results: compare_page.Results) -> Table:
    found = Table(title=f"lowest loss with {results.budget} evaluations, seed {results.seed}")
    head, rows = compare_page.rows(results)
    for i, text in enumerate(head):
        found.add_column(text, justify="left" if i == 0 else "right")
    for row in rows:
        found.add_row(*row)
    return found


def save(path: Path, curves: Curves, about: dict[str, Any]) -> None:
    """Write the finished runs, whole or not at all."""
    from safetensors.numpy import save as to_bytes

    tensors, ended = {}, {}
    for (name, method), curve in curves.items():
        for part in ("evaluations", "loss", "weights"):
            tensors[f"{name}/{method}/{part}"] = np.ascontiguousarray(getattr(curve, part))
        ended[f"{name}/{method}"] = [curve.steps, curve.outcome]
    header = {KEY: json.dumps({**about, "ended": ended}, sort_keys=True)}
    checkpoint.replace(path, to_bytes(tensors, header))


def load(path: Path, about: dict[str, Any], size: int) -> Curves:
    """The finished runs. Raises CommandError unless the file is a checkpoint of this run."""
    ended, tensors = checkpoint.read(path, KEY, "ended", about)
    found: Curves = {}
    for name in about["frameworks"]:
        for method in METHODS:
            if (of := f"{name}/{method}") not in ended:
                continue
            parts: Any = [tensors.get(f"{of}/{p}") for p in ("evaluations", "loss", "weights")]
            shapes = [None if a is None or a.dtype != float else a.shape for a in parts]
            points, losses, weights = shapes
            if points is None or len(points) != 1 or points != losses or weights != (size,):
                raise CommandError(f"{path} is damaged: {of} is {shapes}, expected its curve")
            steps, outcome = ended[of]
            evaluations, loss, best = parts
            found[name, method] = Curve(evaluations, loss, best, int(steps), str(outcome))
    return found
