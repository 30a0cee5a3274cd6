"""A sample as a picture, by matplotlib, which comes with the extra "demo"."""

from __future__ import annotations

import io
import math
from typing import Any

from bpx._command import needs
from bpx.health import checks
from bpx.health.record import Sample
from bpx.health.thresholds import Thresholds

# colours told apart without red and green
BLUE, ORANGE, GREY, BLACK = "#0072b2", "#d55e00", "#888888", "#333333"
STYLE = {
    "svg.hashsalt": "bpx",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
NAMED = 24  # more names than this do not fit under an axis


def figure(sample: Sample, limits: Thresholds) -> Any:
    """Three panels over the layers: sizes forwards and backwards, shares, updates."""
    matplotlib = needs("matplotlib", "demo")
    make = needs("matplotlib.figure", "demo").Figure
    with matplotlib.rc_context(STYLE):
        found = make(figsize=(11, 3.6), layout="constrained", facecolor="white")
        flow, shares, updates = found.subplots(1, 3)
        _flow(flow, sample)
        _shares(shares, sample, limits)
        _updates(updates, sample, limits)
    return found


def svg(sample: Sample, limits: Thresholds) -> str:
    """The picture as an <svg> element for a page."""
    file = io.StringIO()
    matplotlib = needs("matplotlib", "demo")
    with matplotlib.rc_context(STYLE):
        figure(sample, limits).savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _flow(axes: Any, sample: Sample) -> None:
    names = [layer.name for layer in sample.layers if layer.kind != "loss"]
    for series, colour, mark, label in (
        (checks.activations(sample), BLUE, "o", "activations, root mean square"),
        (checks.gradients(sample), ORANGE, "s", "gradient by them, norm"),
    ):
        known = [(names.index(n), v) for n, v in series if n in names and 0 < v < math.inf]
        if known:
            x, y = zip(*known, strict=True)
            axes.plot(x, y, color=colour, marker=mark, markersize=3, linewidth=1.4, label=label)
    axes.set_title("signals", loc="left", fontsize=10)
    _logarithmic(axes)
    _names(axes, names)
    if axes.lines:
        axes.legend(fontsize=8)


def _shares(axes: Any, sample: Sample, limits: Thresholds) -> None:
    dead = [(x.name, x.dead) for x in sample.layers if x.kind == "relu" and x.dead is not None]
    flat = [(x.name, x.saturated) for x in sample.layers if x.saturated is not None]
    names = [n for n, _ in (*dead, *flat)]
    for shares, colour, label, limit in (
        (dead, BLACK, "dead units", limits.dead),
        (flat, BLUE, "saturated values", limits.saturated),
    ):
        if shares:
            places = [names.index(n) for n, _ in shares]
            axes.bar(places, [100 * s for _, s in shares], color=colour, label=label)
            axes.axhline(100 * limit, color=colour, linestyle=(0, (4, 2)), linewidth=1)
    axes.set_title("dead and saturated, %", loc="left", fontsize=10)
    axes.set_ylim(0, 103)
    _names(axes, names)
    if names:
        axes.legend(fontsize=8)
    else:
        _nothing(axes, "no layer that dies or saturates")


def _updates(axes: Any, sample: Sample, limits: Thresholds) -> None:
    known = [(p.name, p.ratio) for p in sample.parameters if len(p.shape) > 1 and p.ratio]
    axes.set_title("update / weight", loc="left", fontsize=10)
    if not known:
        _nothing(axes, "no update was seen")
        return
    places = range(len(known))
    axes.plot(places, [r for _, r in known], "o", color=BLUE, markersize=4)
    for limit, text in ((limits.high, "too high"), (limits.low, "too low")):
        axes.axhline(limit, color=ORANGE, linestyle=(0, (4, 2)), linewidth=1)
        place = {"xytext": (2, 3), "textcoords": "offset points"}
        axes.annotate(text, (0, limit), color=ORANGE, fontsize=8, **place)
    _logarithmic(axes)
    _names(axes, [n for n, _ in known])


def _logarithmic(axes: Any) -> None:
    if axes.lines:
        axes.set_yscale("log")


def _names(axes: Any, names: list[str]) -> None:
    if len(names) <= NAMED:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    else:
        axes.set_xlabel("layers, the first on the left")


def _nothing(axes: Any, text: str) -> None:
    axes.set_yticks([])
    axes.set_xticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=GREY)
