"""The page of `python -m bpx demo --compare`: loss against evaluations, and what each method is."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import bpx
from bpx.demo import checkpoint, compare, plots
from bpx.demo.compare import METHODS, Curve, Task
from bpx.demo.lockstep import Limit
from bpx.demo.report import number, render

NAME = "compare.html"
HESSIAN = 2  # evaluations for each row
# what the pictures show: a colour, and dashes for what needs no gradient
LINES: dict[str, tuple[str, Any]] = {
    "batch descent": (plots.LAYERS[7], "-"),
    "stochastic descent": (plots.LAYERS[4], "-"),
    "mini-batch descent": (plots.LAYERS[3], "-"),
    "momentum": (plots.LAYERS[2], "-"),
    "Adam": (plots.LAYERS[1], "-"),
    "L-BFGS": (plots.LAYERS[0], "-"),
    "Newton": (plots.LAYERS[5], "-"),
    "annealing": (plots.LAYERS[6], (0, (4, 2))),
    "local search": (plots.LAYERS[1], (0, (4, 2))),
    "random search": (plots.LAYERS[7], (0, (4, 2))),
}
CLOSE = 1e-9


@dataclass(frozen=True)
class Results:
    seed: int
    budget: int
    names: list[str]
    task: Task
    problems: dict[str, Any]
    curves: dict[tuple[str, str], Curve]

    def of(self, method: str) -> Curve:
        """The curve in the first framework, which the pictures show."""
        return self.curves[self.names[0], method]

    @property
    def lowest(self) -> float:
        return min(float(curve.loss[-1]) for curve in self.curves.values())


def rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table, the lowest loss first."""
    first = results.names[0]
    head = ["method", *(f"lowest loss, {name}" for name in results.names)]
    head += ["above the lowest", "evaluations", "steps", "test images", "ended"]
    found = []
    for method in sorted(METHODS, key=lambda m: results.of(m).loss[-1]):
        curve = results.of(method)
        right = compare.accuracy(results.problems[first], results.task, curve.weights)
        losses = [f"{results.curves[name, method].loss[-1]:.6f}" for name in results.names]
        above = number(float(curve.loss[-1]) - results.lowest)
        found.append(
            [
                method,
                *losses,
                above,
                f"{curve.evaluations[-1]:.0f}",
                str(curve.steps),
                f"{right:.1%}",
                curve.outcome,
            ]
        )
    return head, found


def limits(results: Results) -> list[Limit]:
    """Two frameworks must walk one path: batch descent, which is stable, over the whole run."""
    if len(results.names) < 2:
        return []
    a, b = (results.curves[name, "batch descent"].loss for name in results.names)
    worst = float(np.max(np.abs(a - b) / np.abs(b)))
    what = "batch descent, largest relative difference of the two frameworks' losses"
    return [Limit(what, f"<= {CLOSE:.0e}", f"{worst:.1e}", worst <= CLOSE)]


def curves(results: Results, above: bool) -> str:
    """The lowest loss so far against the evaluations; `above`: how far above the lowest of all."""
    floor = 1e-16

    def draw(axes: Any) -> None:
        for method, (colour, dashes) in LINES.items():
            curve = results.of(method)
            x = np.append(curve.evaluations, results.budget)
            y = np.append(curve.loss, curve.loss[-1])
            y = np.maximum(y - results.lowest, floor) if above else y
            axes.plot(
                np.maximum(x, 1), y, color=colour, ls=dashes, label=method, drawstyle="steps-post"
            )
            if curve.outcome == "converged":
                axes.plot(curve.evaluations[-1], y[-1], "o", color=colour, markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log" if above else "linear")
        axes.set_xlim(1, results.budget)
        axes.set_ylabel("loss less the lowest of all" if above else "loss")
        axes.figure.legend(loc="outside lower center", fontsize=8, ncols=4, columnspacing=1.2)

    name = "above" if above else "loss"
    return plots.picture(name, draw, log=above, below="evaluations", size=(5.6, 4.4))


def write(path: Path, results: Results) -> None:
    """Raises CommandError where the file cannot be written."""
    checkpoint.replace(path, page(results).encode())


def page(results: Results) -> str:
    n = len(results.task.start)
    head, body = rows(results)
    versions = {"bpx": bpx.__version__, "seed": str(results.seed)}
    versions |= {"Python": platform.python_version()}
    versions |= {p: metadata.version(p) for p in ("numpy", *results.names)}
    return render(
        "compare.html.j2",
        results=results,
        pictures=[curves(results, above=False), curves(results, above=True)],
        head=head,
        rows=body,
        best=body[0],
        limits=limits(results),
        methods={name: what for name, (_, what) in METHODS.items()},
        sizes=" - ".join(map(str, compare.SIZES)),
        parameters=n,
        hessian=HESSIAN * n,
        images=len(results.task.y),
        tested=len(results.task.test_y),
        classes=compare.CLASSES,
        penalty=compare.PENALTY,
        versions=versions,
    )
