"""One run of the demo from first to last: verify, train, judge, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bpx import random
from bpx.demo import checkpoint, lockstep, report, tasks, verification
from bpx.demo.command import trainers
from bpx.demo.lockstep import Interrupted, Limit, State, differences, train
from bpx.demo.settings import Settings
from bpx.demo.task import Task
from bpx.demo.verification import FACTOR, RUNS, Row

SHOWN = 15  # lines of losses


def run(
    settings: Settings, names: list[str], folder: Path, resume: bool, every: int, again: str
) -> int:
    """Returns the exit code. Raises CommandError."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    split, order, init, extra = random.split(random.key(settings.seed), 4)
    task = tasks.MAKERS[settings.model](settings, (split, order, extra))
    total = settings.total(task.examples, task.unit)
    model = task.network
    weights = model.initial(init, settings.dtype)
    crew = trainers(names, settings, model, weights)

    path, about = folder / checkpoint.NAME, checkpoint.identity(settings, names, task.identity)
    state = lockstep.start(crew, len(model.trained), len(model.parts))
    if resume:
        state = checkpoint.load(path, about, state, total)
        said = f"going on after step {state.step} of {total}, from {path}"
        console.print(said, highlight=False, soft_wrap=True)

    few = min(task.verified or settings.batch_size, settings.batch_size)
    rows = verification.verify(model, weights, task.data.batch(0, few), crew)
    console.print(verified(rows))
    if not all(row.holds for row in rows):
        wrong = ", ".join(sorted({f"{r.param} ({r.framework})" for r in rows if not r.holds}))
        console.print(f"[red]not trained[/red]: a gradient is beyond its limit: {wrong}")
        return 1
    first = task.data.batch(0, settings.batch_size)
    saved = {t.name: t.saved(*first) for t in crew}

    for trainer in crew if resume else ():
        trainer.load(state.arrays[trainer.name])
    try:
        state = watched(console, crew, task, settings, state, total, every, path, about)
    except Interrupted as stop:
        with checkpoint.uninterrupted():
            checkpoint.save(path, stop.state, about)
            stopped = f"stopped after step {stop.state.step} of {total}, saved {path}"
            console.print(f"{stopped}\nto go on: {again}", highlight=False, soft_wrap=True)
        return 130
    checkpoint.save(path, state, about)

    short = lockstep.short(settings, total, task.examples, task.unit)
    verdict = task.judge(crew, state, short)
    found = [*lockstep.limits(settings, state.losses), *verdict.limits]
    console.print(judged(found))
    page = folder / report.NAME
    finished = report.Run(settings, task, crew, state, rows, few, saved, verdict, found)
    report.write(page, finished)
    console.print(f"report: {page.resolve()}", highlight=False, soft_wrap=True)
    return 1 if any(limit.holds is False for limit in found) else 0


def watched(
    console: Console,
    crew: list[Any],
    task: Task,
    settings: Settings,
    begin: State,
    total: int,
    every: int,
    path: Path,
    about: dict[str, Any],
) -> State:
    """The training with a bar, a line of losses now and then, and checkpoints."""
    console.print(heading([t.name for t in crew], task.losses), highlight=False)
    label = TextColumn("{task.description}")
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        progress = bar.add_task("training", total=total, completed=begin.step)

        def after(state: State) -> None:
            bar.update(progress, completed=state.step)
            if every and state.step % every == 0 and state.step < total:
                checkpoint.save(path, state, about)
            if state.step % max(1, total // SHOWN) == 0 or state.step in (1, total):
                bar.console.print(line(state, task.losses), highlight=False)

        return train(crew, task.data, settings, begin, total, after)


def heading(names: list[str], losses: tuple[str, ...] = ()) -> str:
    columns = [f"{what}, {name}" for name in names for what in losses or ("loss",)]
    head = f"{'step':>6}" + "".join(f"{c:>{_width(losses)}}" for c in columns)
    return head + (f"{'difference':>14}" if len(names) == 2 else "")


def line(state: State, losses: tuple[str, ...] = ()) -> str:
    """The losses of the last step beside each other, and the largest difference up to it."""
    values = state.losses[:, -1].reshape(-1)
    text = f"{state.step:6}" + "".join(f"{loss:{_width(losses)}.9f}" for loss in values)
    if len(state.losses) < 2:
        return text
    gaps = differences(state.losses)
    return f"{text}{gaps[-1]:14.1e}   largest so far {gaps.max():.1e}"


def _width(losses: tuple[str, ...]) -> int:
    return 16 if not losses else 8 + max(map(len, losses))


def verified(rows: list[Row]) -> Table:
    table = Table(
        title="gradients by hand, before training: largest error over max|gradient|, in eps",
        caption=f"limit: {FACTOR:g} x what one eps of rounding in every layer does to this "
        f"gradient, measured on the specification in float64 ({RUNS} runs)",
    )
    table.add_column("parameter")
    table.add_column("rule")
    references = list(dict.fromkeys(k for row in rows for k in row.errors))
    for heading in (*references, "limit", ""):
        table.add_column(heading, justify="right")
    for row in rows:
        errors = (f"{row.errors[k]:.3g}" if k in row.errors else "" for k in references)
        verdict = "[green]ok[/green]" if row.holds else "[red]FAIL[/red]"
        table.add_row(row.param, row.framework, *errors, f"{row.limit:.3g}", verdict)
    return table


def judged(found: list[Limit]) -> Table:
    table = Table(title="what must hold")
    for heading in ("", "limit", "found", ""):
        table.add_column(heading)
    words = {True: "[green]holds[/green]", False: "[red]DOES NOT HOLD[/red]", None: "not judged"}
    for limit in found:
        table.add_row(limit.what, limit.limit, limit.found, words[limit.holds])
    return table
