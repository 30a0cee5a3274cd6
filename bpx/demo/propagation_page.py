"""The page of `demo --init`: pictures, the table and what they say, from the results alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bpx.demo import checkpoint, plots, report
from bpx.demo.propagation import (
    ACTIVATIONS,
    BATCH,
    DEPTH,
    HIDDEN,
    STARTS,
    WIDTH,
    Passage,
    Results,
    Training,
)

NAME = "init.html"
HEAD = (
    "activation",
    "start",
    "signal 1",
    f"signal {DEPTH}",
    "in examples",
    f"gradient {DEPTH}",
    "gradient 1",
    "a layer",
    "gradient",
)
ENDS = float(np.finfo(np.float32).tiny) ** 2  # the variance of numbers at float32's end
DECADES = -80  # the floor of the pictures
COLOUR = dict(zip(STARTS, plots.LAYERS, strict=False))

# why, whatever the numbers are: the mathematics of one layer
WHY = {
    "sigmoid": "Its slope is at most 1/4, so a layer passes on at most 1/16 of the variance that "
    "its weights leave; and its values are all positive, so that the examples become alike.",
    "tanh": "Its slope is 1 at 0 and falls to both sides: variance 1 / fan_in keeps a small signal "
    "nearly whole; more saturates units, and those that are left steep blow the gradient up.",
    "relu": "It is 0 for half of its inputs and so keeps half of the variance: He's factor 2 gives "
    "that back, Xavier and orthogonal weights lose 2 at every layer.",
}


def rows(passages: list[Passage]) -> list[tuple[str, ...]]:
    """The table of one framework."""
    return [
        (
            p.activation,
            p.start,
            *map(report.number, (p.signal[0], p.signal[-1])),
            f"{p.between[-1]:.0%}",
            *map(report.number, (p.gradient[-1], p.gradient[0])),
            f"x {report.number(p.factor)}",
            p.verdict,
        )
        for p in passages
    ]


def reading(results: Results) -> list[str]:
    """What the numbers say, a paragraph for each activation and one for the equal units."""
    passages = next(iter(results.passages.values()))
    said = []
    for activation in ACTIVATIONS:
        by_verdict: dict[str, list[str]] = {}
        for p in passages:
            if p.activation == activation:
                shown = f"{p.start} (x {report.number(p.factor)} a layer)"
                by_verdict.setdefault(p.verdict, []).append(p.start if p.factor == 0 else shown)
        kept = by_verdict.get("arrives", [])
        first = f"the gradient arrives from {_all(kept)}" if kept else "no start keeps the gradient"
        rest = "".join(
            f"; it {verdict} from {_all(starts)}"
            for verdict, starts in by_verdict.items()
            if verdict != "arrives"
        )
        said.append(f"{activation}: {first}{rest}. {WHY[activation]}")
    return [*said, units(next(iter(results.trainings.values())))]


def units(trainings: list[Training]) -> str:
    zero, other = trainings
    return (
        f"Equal units: from zero the {HIDDEN} hidden units moved by up to "
        f"{report.number(zero.moved)} and were never further apart than "
        f"{report.number(zero.apart)}: each has the same gradient as the next, so the layer is one "
        f"unit, and the loss stays at {zero.losses[-1]:.3f}. From {other.start} they go ways of "
        f"their own, up to {report.number(other.apart)} apart, and the loss falls to "
        f"{other.losses[-1]:.3f}."
    )


def held(results: Results) -> list[tuple[str, str, str, bool]]:
    """(quantity, limit, found, whether it holds)."""
    found = [
        (
            f"{name}: distance from the specification, at every layer",
            "at most 1 of what rounding may do",
            report.number(share),
            share <= 1,
        )
        for name, share in results.worst.items()
    ]
    for name, (zero, other) in results.trainings.items():
        same = zero.apart <= 1e-9 * zero.moved
        found += [
            (
                f"{name}: distance of two units from a zero start, over how far they moved",
                "at most 1e-9",
                report.number(zero.apart / zero.moved) if zero.moved else "they did not move",
                bool(same and zero.moved > 0),
            ),
            (
                f"{name}: last loss from {other.start}, over that from zero",
                "at most 0.5",
                report.number(other.losses[-1] / zero.losses[-1]),
                bool(other.losses[-1] <= 0.5 * zero.losses[-1]),
            ),
        ]
    if results.gap is not None:
        limit = 1e-9
        found.append(
            (
                "losses of the two frameworks, largest relative difference",
                f"at most {limit:g}",
                report.number(results.gap),
                results.gap <= limit,
            )
        )
    return found


def write(path: Path, results: Results, versions: dict[str, str]) -> None:
    """Raises CommandError where the file cannot be written."""
    checkpoint.replace(path, page(results, versions).encode())


def page(results: Results, versions: dict[str, str]) -> str:
    first = results.names[0]
    return report.render(
        "init.html.j2",
        results=results,
        versions=versions,
        sizes=(DEPTH, WIDTH, BATCH),
        limits=held(results),
        pictures={
            (what, activation): passage_picture(what, activation, results)
            for what in ("gradient", "signal")
            for activation in ACTIVATIONS
        },
        activations=ACTIVATIONS,
        starts=list(COLOUR),
        reading=reading(results),
        head=HEAD,
        rows=rows(results.passages[first]),
        trainings=results.trainings[first],
        loss=loss_picture(results),
        units=[(t, units_picture(t)) for t in results.trainings[first]],
    )


def passage_picture(what: str, activation: str, results: Results) -> str:
    """One line to a start over the layers; a second framework dotted on the first."""

    def draw(axes: Any) -> None:
        layers = np.arange(1, DEPTH + 1)
        floor = 10.0**DECADES
        top = 1.0
        for i, passages in enumerate(results.passages.values()):
            for p in (p for p in passages if p.activation == activation):
                values = getattr(p, what)
                top = max(top, values.max())
                dotted = {"linestyle": (0, (1, 2)), "color": plots.INK, "linewidth": 0.7}
                solid = {"color": COLOUR[p.start], "linewidth": 1.8}
                axes.plot(layers, np.maximum(values, floor), **(dotted if i else solid))
        axes.axhline(ENDS, color=plots.LIMIT, linestyle=(0, (4, 2)), linewidth=1)
        place = {"xytext": (0, 3), "textcoords": "offset points", "fontsize": 8, "ha": "right"}
        axes.annotate("float32 ends", (DEPTH, ENDS), color=plots.LIMIT, **place)
        axes.set_yscale("log")
        axes.set_ylim(floor, 1e3 * top)
        axes.set_yticks([10.0**k for k in range(DECADES, int(np.log10(1e3 * top)) + 1, 20)])
        axes.set_ylabel(f"variance of the {what}")

    return plots.picture(f"{what}-{activation}", draw, below="layer")


def loss_picture(results: Results) -> str:
    def draw(axes: Any) -> None:
        for i, trainings in enumerate(results.trainings.values()):
            for t in trainings:
                dotted = {"linestyle": (0, (1, 2)), "color": plots.INK, "linewidth": 0.8}
                solid = {"color": COLOUR[t.start], "linewidth": 2, "label": t.start}
                axes.plot(np.arange(len(t.losses)), t.losses, **(dotted if i else solid))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("loss")
        axes.legend(fontsize=8)

    return plots.picture("loss", draw, log=False)


def units_picture(training: Training) -> str:
    """The two weights into each hidden unit, as one line to a unit in their plane."""

    def draw(axes: Any) -> None:
        for i in range(HIDDEN):
            path = training.weights[:, i]
            axes.plot(*path.T, color=plots.LAYERS[i], linewidth=1.2)
            axes.plot(*path[0], color=plots.FAINT, marker="o", markersize=3)
            axes.plot(*path[-1], color=plots.LAYERS[i], marker="o", markersize=6)
        axes.set_ylabel("weight of the second input")

    return plots.picture(
        f"units-{training.start}", draw, log=False, below="weight of the first input"
    )


def _all(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
