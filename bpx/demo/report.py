"""The report of a run: one HTML page that needs nothing else, from a jinja2 template."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

import bpx
from bpx.demo import checkpoint, plots
from bpx.demo.lockstep import Limit, State, differences
from bpx.demo.settings import Settings
from bpx.demo.task import Task, Verdict
from bpx.demo.verification import FACTOR, RUNS, Row

NAME = "report.html"
PACKAGES = ("numpy", "scikit-learn", "matplotlib", "jinja2", "safetensors", "rich")


@dataclass(frozen=True)
class Run:
    """A finished run. `verified` is how many examples `rows` are of; `saved` is framework -> layer
    -> bytes (bpx, the framework's autodiff)."""

    settings: Settings
    task: Task
    trainers: list[Any]
    state: State
    rows: list[Row]
    verified: int
    saved: dict[str, dict[str, tuple[int, int]]]
    verdict: Verdict
    limits: list[Limit]

    @property
    def names(self) -> list[str]:
        return [t.name for t in self.trainers]


def write(path: Path, run: Run) -> None:
    """Raises CommandError where the file cannot be written."""
    checkpoint.replace(path, page(run).encode())


def render(template: str, **values: Any) -> str:
    """A page that needs nothing else, from a template and the style that all pages share."""
    from jinja2 import Environment, StrictUndefined

    folder = resources.files("bpx.demo").joinpath("templates")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": number, "bytes": bytes_of}
    source = environment.from_string(folder.joinpath(template).read_text("utf-8"))
    return source.render(style=folder.joinpath("style.css").read_text("utf-8"), **values)


def page(run: Run) -> str:
    layers = [layer.name for layer in run.task.network.trained]
    two = len(run.names) == 2
    pictures = {
        "loss": plots.losses(run.names, run.state, run.task),
        "gap": plots.gap(run.settings, run.state) if two else None,
        "norm": plots.statistics(0, "norm of the gradient", layers, run.names, run.state),
        "variance": plots.statistics(1, "variance of the gradient", layers, run.names, run.state),
    }
    return render(
        "report.html.j2",
        run=run,
        settings=run.settings,
        steps=run.state.step,
        facts=facts(run),
        pictures=pictures,
        references=list(dict.fromkeys(k for row in run.rows for k in row.errors)),
        largest=largest(run),
        kept=kept(run),
        failed=[limit for limit in run.limits if limit.holds is False],
        gap=float(differences(run.state.losses).max()) if two else None,
        worst=max(max(row.errors.values()) for row in run.rows),
        tightest=max(max(row.errors.values()) / row.limit for row in run.rows),
        factor=f"{FACTOR:g}",
        runs=RUNS,
        version=bpx.__version__,
        summary=run.task.summary.format(
            parameters=sum(int(np.prod(p.shape)) for p in run.task.network.params)
        ),
    )


def largest(run: Run) -> dict[str, list[tuple[str, float, float, float]]]:
    """Layer by layer: the gradient's norm at the first step and the last, its median variance."""
    layers = [layer.name for layer in run.task.network.trained]
    found = {}
    for name, rows in zip(run.names, run.state.statistics, strict=True):
        found[name] = [
            (layer, float(a[0, 0]), float(a[-1, 0]), float(np.median(a[:, 1])))
            for layer, a in zip(layers, rows.transpose(1, 0, 2), strict=True)
        ]
    return found


def kept(run: Run) -> list[tuple[str, list[tuple[int, int]]]]:
    """Layer -> (bytes with bpx, with the framework's autodiff) for each framework."""
    layers = list(next(iter(run.saved.values())))
    return [(layer, [run.saved[name][layer] for name in run.names]) for layer in layers]


def facts(run: Run) -> dict[str, str]:
    s = run.settings
    layers = ", ".join(layer.name for layer in run.task.network.layers if not layer.wiring)
    versions = {t.name: t.version for t in run.trainers}
    versions |= {name: metadata.version(name) for name in PACKAGES}
    b1, b2 = s.betas
    falling = f" falling to {s.rate(s.decay):.1g} over {s.decay} steps" if s.decay else ""
    return {
        "model": s.model,
        "seed": str(s.seed),
        **run.task.facts,
        "batches": f"{run.state.step} steps of {s.batch_size} {run.task.unit}, the same in the "
        "same order",
        "layers": f"{layers}; loss: {run.task.network.loss}",
        "optimizer": f"AdamW{' for each network' if run.task.losses else ''}, learning rate "
        f"{s.lr:g}{falling}, betas {b1:g} and {b2:g}, weight decay {s.weight_decay:g}",
        "dtype": s.dtype,
        "bpx": bpx.__version__,
        "Python": platform.python_version(),
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
    }


def number(x: float) -> str:
    """Three digits."""
    if x == 0:
        return "0"
    if 1e-2 <= abs(x) < 1e4:
        return f"{x:.3g}"
    return f"{x:.1e}".replace("e-0", "e-").replace("e+0", "e")


def bytes_of(n: int) -> str:
    return f"{n} B" if n < 1024 else f"{n / 1024:.1f} KiB"
