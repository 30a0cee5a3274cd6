"""The report's pictures: SVG to be put into an HTML page, in the page's own colours."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

from bpx.demo.lockstep import LOSS_LIMIT, State, differences, window
from bpx.demo.settings import Settings
from bpx.demo.task import Task

# What matplotlib draws in these colours the page colours by its style sheet, light or dark.
INK, FAINT, TORCH, JAX, LIMIT = "#010101", "#020202", "#030303", "#040404", "#050505"
LAYERS = ("#060601", "#060602", "#060603", "#060604", "#060605", "#060606", "#060607", "#060608")
VARIABLES = {INK: "ink", FAINT: "line", TORCH: "torch", JAX: "jax", LIMIT: "limit"} | {
    colour: f"layer{i}" for i, colour in enumerate(LAYERS)
}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
COLOUR = {"torch": TORCH, "jax": JAX}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bpx",
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def losses(names: list[str], state: State, task: Task) -> str:
    """The loss (or losses) of every framework over the steps, the second drawn dashed on the
    first, and the levels that the task names."""

    def draw(axes: Any) -> None:
        steps = state.losses.shape[1]
        each = state.losses.reshape(len(names), steps, -1)
        for i, name in enumerate(names):
            wide = {"linewidth": 3.2, "alpha": 0.45} if i == 0 and len(names) == 2 else {}
            for j, what in enumerate(task.losses or ("",)):
                label, style = f"{what} {name}".strip(), ("-", (0, (2, 1)))[j]
                loss = each[i, :, j]
                axes.plot(_steps(loss), loss, color=COLOUR[name], label=label, ls=style, **wide)
        for what, level in task.lines:
            dashed = {"color": LIMIT, "linestyle": (0, (4, 2)), "linewidth": 1.2}
            axes.axhline(level, label=f"{what}: {level:.3g}", **dashed)
        if task.lines:
            axes.set_ylabel(f"loss of the batch, {task.loss_unit}")
        else:
            axes.set_yscale("log")
            axes.set_ylabel("loss of the batch")
        axes.legend(loc="upper right", fontsize=8)

    return picture("loss", draw, log=not task.lines)


def gap(settings: Settings, state: State) -> str:
    """The relative difference of the two losses, and its limit where that applies."""

    def draw(axes: Any) -> None:
        found = differences(state.losses)
        axes.plot(_steps(found), np.where(found > 0, found, np.nan), color=INK, linewidth=0.8)
        last = min(window(settings) or len(found), len(found))
        limit = LOSS_LIMIT[settings.dtype]
        axes.plot([1, last], [limit, limit], color=LIMIT, linestyle=(0, (4, 2)))
        place = {"xytext": (2, 4), "textcoords": "offset points"}
        axes.annotate(f"limit {power(limit)}", (1, limit), color=LIMIT, **place)
        axes.set_yscale("log")
        axes.set_ylim(top=10 * max(limit, np.nanmax(found, initial=0)))
        axes.set_ylabel("relative difference")

    return picture("gap", draw)


def statistics(column: int, label: str, layers: list[str], names: list[str], state: State) -> str:
    """A statistic of every layer's gradient over the steps: one colour a layer, the second
    framework dotted on the first."""

    def draw(axes: Any) -> None:
        for i, name in enumerate(layers):
            for j in range(len(names)):
                values = _smooth(state.statistics[j, :, i, column])
                style = "-" if j == 0 else (0, (1, 2))
                colour = LAYERS[i % len(LAYERS)] if j == 0 else INK
                axes.plot(
                    _steps(values), values, color=colour, linestyle=style,
                    linewidth=1.6 if j == 0 else 0.7, label=name if j == 0 else None,
                )  # fmt: skip
        axes.set_yscale("log")
        small = {"fontsize": 8 if len(layers) <= len(LAYERS) else 6, "handlelength": 1.2}
        axes.legend(loc="best", ncols=2, columnspacing=1, **small)
        axes.set_ylabel(label)

    return picture(f"statistics{column}", draw)


def _steps(values: Any) -> Any:
    return np.arange(1, len(values) + 1)


def _smooth(values: Any) -> Any:
    """The geometric mean of up to nine steps: batches scatter, layers are what is to be seen."""
    width = min(9, len(values))
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    sums, counts = (np.convolve(a, np.ones(width), "same") for a in (logs, np.ones(len(logs))))
    return np.exp(sums / counts)


def picture(
    name: str, draw: Any, log: bool = True, below: str = "step", size: Any = (5.2, 3.1)
) -> str:
    """What `draw(axes)` draws, as an <svg> element with its own ids and the page's colours."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        draw(axes)
        if log:
            axes.yaxis.set_major_formatter(FuncFormatter(power))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(below)
        axes.margins(x=0.01)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return inline(name, file.getvalue())


def power(value: float, _: Any = None) -> str:
    """A tick of a logarithmic axis, as text."""
    return "10" + str(round(np.log10(value))).translate(RAISED) if value > 0 else ""


def inline(name: str, svg: str) -> str:
    """An SVG file as an element of a page: no prologue, no addresses, no ids met twice."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()
