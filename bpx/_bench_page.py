"""The figures of `python -m bpx bench --page`: a page with plots, of one machine and one day."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpx._bench_gate import default_ratio, geometric_mean
from bpx._command import CommandError

Row = dict[str, Any]
Report = dict[str, Any]

NAME = "bench"
BAR = 0.22  # inches of height for each entry
COLOURS = {"own": "0.6", "own, compiled": "0.8", "plain": "tab:orange", "cpu": "tab:blue"}


def machine() -> str:
    """The processor, as the system names it, and how many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {cores} cores, {platform.system()} {platform.machine()}"


def write_page(report: Report, folder: Path, name: str = NAME, title: str = "Benchmark") -> None:
    """<name>.md and its plots in `folder`. Raises CommandError where matplotlib is missing or a
    file cannot be written."""
    plt = plotting()
    try:
        plots = [*_ratios(plt, report, folder, name), *_growth(plt, report, folder)]
        text = "\n".join([*_head(report, title), *plots, *_tables(report)])
        (folder / f"{name}.md").write_text(text.rstrip() + "\n")
    except OSError as error:
        raise CommandError(f"--page {folder}: {error.strerror}") from error


def plotting() -> Any:
    """matplotlib.pyplot, set up to write the same SVG from the same figures."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise CommandError("--page needs matplotlib: pip install 'bpx[demo]'") from error
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = NAME
    return importlib.import_module("matplotlib.pyplot")


def _head(report: Report, title: str) -> Iterator[str]:
    versions = ", ".join(
        f"{name} {about[name]} ({about.get('threads') or 'all'} threads)"
        for name, about in report["frameworks"].items()
    )
    yield f"# {title}\n\n{report['machine']}; Python {report['python']}; {versions}; "
    yield f"{report['dtype']}; {report['date'][:10]}. Written by `python -m bpx bench --page`.\n"
    pooled = ""
    if (processes := report.get("processes", 1)) > 1:
        pooled = f" Each figure pools the rounds of {processes} processes."
    yield (
        "Forward and backward together, or an optimizer's step. A ratio is bpx's time over that of "
        "the framework's own operation in the same round: torch eager, or JAX's autodiff under "
        "jit; of an entry that computes again to keep less, that of the framework's own computing "
        "again. Below 1 bpx is faster. Machines are noisy: the quartiles are in the tables."
        f"{pooled}\n"
    )
    for framework in report["frameworks"]:
        for label in ("small", "typical", "large", "odd"):
            found = [
                r
                for row in report["rows"]
                if row["framework"] == framework and row["label"] == label
                if (r := default_ratio(row)) is not None
            ]
            if found:
                yield (
                    f"- {framework}, {label}: geometric mean {geometric_mean(found):.2f} over "
                    f"{len(found)} rows, largest {max(found):.2f}"
                )
    yield ""


def _ratios(plt: Any, report: Report, folder: Path, name: str) -> Iterator[str]:
    """A plot for each framework and size: one bar for each entry."""
    for framework in report["frameworks"]:
        for label in ("small", "typical", "large", "odd"):
            rows = [
                (row["entry"], ratio)
                for row in report["rows"]
                if row["framework"] == framework and row["label"] == label
                if (ratio := default_ratio(row)) is not None
            ]
            if not rows:
                continue
            path = folder / f"{name}-{framework}-{label}.svg"
            yield bars(plt, rows, framework, path, f"{framework}, {label} sizes")


def bars(
    plt: Any,
    rows: list[tuple[str, float]],
    framework: str,
    path: Path,
    title: str,
    level: str = "##",
) -> str:
    """The section with one plot: a bar for each name's ratio."""
    figure, axes = plt.subplots(figsize=(7, 1 + BAR * len(rows)), layout="constrained")
    names, ratios = zip(*reversed(rows), strict=True)
    colours = ["tab:blue" if r <= 1 else "tab:orange" for r in ratios]
    axes.barh(names, ratios, color=colours)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xlabel(f"time over {framework}'s own")
    axes.margins(y=0.01)
    return _save(plt, figure, path, title, level)


def _growth(plt: Any, report: Report, folder: Path) -> Iterator[str]:
    """A plot for each size that grows."""
    series: dict[tuple[str, str, str], list[Row]] = {}
    for row in report["rows"]:
        if row["label"].endswith((" grows", " grow")):
            series.setdefault((row["framework"], row["entry"], row["label"]), []).append(row)
    for (framework, entry, label), rows in series.items():
        dim = label.split()[0]
        figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
        names = list(dict.fromkeys(c["name"] for row in rows for c in row["candidates"]))
        for name in names:
            points = [
                (row["dims"][dim], c["seconds"])
                for row in rows
                for c in row["candidates"]
                if c["name"] == name
            ]
            axes.loglog(*zip(*points, strict=True), "o-", label=name, color=COLOURS.get(name))
        axes.set(xlabel=dim, ylabel="seconds", title=f"{entry}, {framework}")
        axes.legend()
        file = f"{NAME}-{framework}-{entry}-{dim}.svg"
        yield _save(plt, figure, folder / file, f"{entry} in {framework}: {label}")


def _save(plt: Any, figure: Any, path: Path, title: str, level: str = "##") -> str:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return f"{level} {title}\n\n![{title}]({path.name})\n"


def _tables(report: Report) -> Iterator[str]:
    for framework in report["frameworks"]:
        yield f"## Figures, {framework}\n"
        yield "| entry | size | candidate | time | ratio (quartiles) | kept | peak |"
        yield "|---|---|---|---:|---:|---:|---:|"
        for row in report["rows"]:
            if row["framework"] != framework:
                continue
            for why in row["failed"].values():
                yield f"| {row['entry']} | {row['label']} | | not timed: {why} | | | |"
            for c in row["candidates"]:
                ratio = c["ratio"]
                shown = (
                    "" if ratio is None else "{median:.2f} ({low:.2f}-{high:.2f})".format(**ratio)
                )
                kept = "" if c["saved"] is None else f"{sum(c['saved'].values()):,}"
                peak = "" if c["peak"] is None else f"{c['peak']:,}"
                name = c["name"] + (" *" if c["default"] else "")
                yield (
                    f"| {row['entry']} | {row['label']}: {row['size']} | {name} | "
                    f"{c['seconds'] * 1e6:,.1f} us | {shown} | {kept} | {peak} |"
                )
        yield ""
