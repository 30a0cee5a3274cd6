"""The figures of `python -m bpx bench --size huge --page`: a page of one GPU and one day."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpx._bench_gate import default_ratio, geometric_mean
from bpx._bench_page import bars, plotting
from bpx._command import CommandError

Row = dict[str, Any]
Report = dict[str, Any]

NAME = "gpu"
TITLE = "# Benchmark on a GPU"
LIGER = "liger"
NEAR = 0.85  # of a copy's bandwidth: below it a row is named

NAMES = {"torch": "PyTorch", "jax": "JAX"}  # the sections of the page

ABOUT = """\
ratio: time of what a plain call of bpx runs over that of {name}'s own operation in the same round,
median (quartiles); below 1 bpx is faster. share: the bytes that forward and backward must move,
each array once (group, instance and batch normalisation's means are of more than a program holds:
x and dy twice), over bpx's time, as a share of what a device copy of 1 GiB reads and writes in the
same run; matrix products have none.
"""
OF_EACH = {
    "torch": """\
Forward and backward together at sizes that fill the GPU, queued while it sleeps, timed by its own
events. peak: the most memory that torch had allocated at once, arguments included, in GB (10^9
bytes).

torch's own operation: of `linear_cross_entropy` the linear layer and the cross-entropy, one after
the other; of `rope` the halves turned as models compose it, the tables without gradient; of
`dropout` the one that draws its mask, as bpx's draws here too; of an entry that torch lacks, its
formula in torch's operations. Liger-Kernel's, where it is installed: on arrays of its own; its
`rope` turns half of the heads as queries and half as keys, with the features of all heads side by
side in memory.
""",
    "jax": """\
Forward and backward in one program under `jax.jit`, with a barrier between them that keeps XLA from
fusing the one into the other, as the rest of a model does; many calls queued, the clock read when
the last is done. peak: what XLA's buffer assignment holds at once, arguments included, in GB (10^9
bytes).

JAX's own operation: of `jax.nn` or in jax.numpy, differentiated by JAX; of `attention` cuDNN's at
16 bits; of `dropout` a mask drawn by `jax.random.bernoulli`, as bpx's draws here too.
""",
}


def ours(row: Row) -> Row | None:
    """The candidate that a plain call runs, None where it failed."""
    return next((c for c in row["candidates"] if c["default"]), None)


def named(row: Row, name: str) -> Row | None:
    """The candidate of this name, None where there is none."""
    return next((c for c in row["candidates"] if c["name"] == name), None)


def share(row: Row, candidate: Row) -> float | None:
    """What a candidate reaches of the copy's bandwidth, None where bytes say nothing."""
    if not row.get("bytes"):
        return None
    return float(row["bytes"] / candidate["seconds"] / row["copy"])


def total_peak(row: Row, candidate: Row) -> float | None:
    """Bytes with the arguments, None where they were not measured."""
    if candidate["peak"] is None or "arguments" not in row:
        return None
    return float(candidate["peak"] + row["arguments"])


def write_gpu_page(report: Report, folder: Path) -> None:
    """gpu.md and its plots in `folder`: the section of each framework in the report is written
    anew, another stays. Raises CommandError where matplotlib is missing or a file cannot be
    written."""
    plt, path = plotting(), folder / f"{NAME}.md"
    try:
        sections = _kept(path.read_text()) if path.exists() else {}
        for framework in report["frameworks"]:
            rows = [row for row in report["rows"] if row["framework"] == framework]
            lines = _section(plt, framework, {**report, "rows": rows}, folder)
            sections[framework] = "\n".join(lines).rstrip()
        found = [f"## {title}\n\n{sections[f]}" for f, title in NAMES.items() if f in sections]
        path.write_text("\n\n".join([TITLE, *found]) + "\n")
    except OSError as error:
        raise CommandError(f"--page {folder}: {error.strerror}") from error


def _kept(page: str) -> dict[str, str]:
    """The sections of a page that is there."""
    of_title = {title: framework for framework, title in NAMES.items()}
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for text in page.splitlines():
        if text.startswith("## "):
            lines = found.setdefault(of_title.get(text[3:], ""), [])
        else:
            lines.append(text)
    return {framework: "\n".join(held).strip() for framework, held in found.items() if framework}


def _section(plt: Any, framework: str, report: Report, folder: Path) -> Iterator[str]:
    about = report["frameworks"][framework]
    versions = [f"Python {report['python']}", f"{framework} {about[framework]}"]
    versions += [f"{k} {about[k]}" for k in ("triton", "cuda") if about.get(k)]
    copies = [row["copy"] for row in report["rows"] if row.get("copy")]
    copied = f"a device copy moves {copies[0] / 1e12:.2f} TB/s; " if copies else ""
    command = f"python -m bpx bench --framework {framework} --device cuda --size huge --page"
    yield f"{about.get('device', report['device'])} (host: {report['machine']});"
    yield f"{', '.join(versions)}; {copied}bpx {report['bpx']}; {report['date'][:10]}."
    yield f"Written by `{command}`.\n"
    yield OF_EACH[framework]
    yield ABOUT.format(name=framework if framework == "torch" else NAMES[framework])
    for dtype in dict.fromkeys(row["dtype"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["dtype"] == dtype]
        yield f"### {dtype}\n"
        yield from _summary(rows)
        beside = any(named(row, LIGER) for row in rows)
        head = f"entry | size | bpx | ms | {framework} ms | ratio | share | peak GB, bpx | own"
        yield f"\n| {head}{' | Liger ms | ratio to it' if beside else ''} |"
        yield "|---|---|---|---:|---:|---:|---:|---:|---:|" + "---:|---:|" * beside
        yield from (_line(row, beside) for row in rows)
        yield from _reasons(rows)
        yield ""
        ratios = [(_label(row, rows), r) for row in rows if (r := default_ratio(row)) is not None]
        if ratios:
            mark = "" if framework == "torch" else f"{framework}-"
            path = folder / f"{NAME}-{mark}{dtype}.svg"
            title = f"{dtype}: time over {framework}'s own"
            yield bars(plt, ratios, framework, path, title, level="####")


def _summary(rows: list[Row]) -> Iterator[str]:
    ratios = [r for row in rows if (r := default_ratio(row)) is not None]
    if ratios:
        level = sum(r <= 1.005 for r in ratios)
        yield (
            f"- ratio: geometric mean {geometric_mean(ratios):.2f} over {len(ratios)} rows, "
            f"largest {max(ratios):.2f}; level or ahead (as rounded, at most 1.00) in {level}"
        )
    shares = {
        _label(row, rows): s
        for row in rows
        if (c := ours(row)) and (s := share(row, c)) is not None
    }
    if shares:
        below = [f"{name} {s:.0%}" for name, s in shares.items() if s < NEAR]
        yield (
            f"- share: median {statistics.median(shares.values()):.0%}; below {NEAR:.0%}: "
            f"{', '.join(below) or 'none'}"
        )


def _line(row: Row, beside: bool) -> str:
    mine, own = ours(row), named(row, "own")
    cells = [row["entry"], row["size"], mine["name"] if mine else "failed"]
    cells += [f"{c['seconds'] * 1e3:.3f}" if c else "" for c in (mine, own)]
    ratio = mine and mine["ratio"]
    cells.append("{median:.2f} ({low:.2f}-{high:.2f})".format(**ratio) if ratio else "")
    part = share(row, mine) if mine else None
    cells.append("" if part is None else f"{part:.0%}")
    for c in (mine, own):
        peak = total_peak(row, c) if c else None
        cells.append("" if peak is None else f"{peak / 1e9:.2f}")
    if beside:
        other = named(row, LIGER)
        cells.append(f"{other['seconds'] * 1e3:.3f}" if other else "")
        cells.append(f"{mine['seconds'] / other['seconds']:.2f}" if mine and other else "")
    return f"| {' | '.join(cells)} |"


def _reasons(rows: list[Row]) -> Iterator[str]:
    found = [
        f"- {row['entry']}, {row['size']}: {who} not timed: {why}"
        for row in rows
        for who, why in row["failed"].items()
    ]
    if found:
        yield "\n" + "\n".join(found)


def _label(row: Row, rows: list[Row]) -> str:
    """The entry, with N where it has several rows."""
    several = sum(other["entry"] == row["entry"] for other in rows) > 1
    return f"{row['entry']} {row['dims']['N']:,}" if several else row["entry"]
