"""A report of one rule in the terminal, and as a page of its own."""

from __future__ import annotations

import base64
import html
import io
import math
from typing import Any

from bpx.verify.candidate.report import CandidateReport, line
from bpx.verify.candidate.reproduce import script

MOST = 12  # failures written out
NOT_CHECKED = (
    "a CUDA GPU; index arithmetic beyond 2^31 elements; "
    "inputs outside the declared domains and sizes"
)


def terminal(report: CandidateReport, console: Any, verbose: bool = False) -> None:
    """The table, failures with a reproducer of the first, waivers, and what was not run."""
    from rich.table import Table

    table = Table(title=f"{report.name} ({report.framework}): {report.level}")
    for column in ("", "check", "checks", "compared", "failed", "not run", "of bound", "seconds"):
        table.add_column(column, justify="left" if column in ("", "check") else "right")
    for row in report.families():
        failed = f"[red]{row['failed']}[/red]" if row["failed"] else ""
        table.add_row(
            row["letter"], row["family"], str(row["checks"]), str(row["compared"]), failed,
            str(row["not run"] or ""), _share(row["ratio"]), f"{row['seconds']:.2f}",
        )  # fmt: skip
    console.print(table)
    plain: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    for failure in report.failures[:MOST]:
        console.print("FAILED", line(failure), **plain)
    if (more := len(report.failures) - MOST) > 0:
        console.print(f"and {more} more failures", **plain)
    if report.hint:
        console.print(report.hint, **plain)
    if report.failures:
        console.print("\nreproduce the first:\n", **plain)
        console.print(script(report.trial, report.failures[0]), **plain)
    for start, reason, hit in report.waived():
        state = "accepted" if hit else "not needed: nothing failed there"
        console.print(f"waived {start}: {reason} ({state})", **plain)
    skips = report.skips()
    for reason, count in list(skips.items()) if verbose else list(skips.items())[:8]:
        console.print(f"  not run, {count} times: {reason}", **plain)
    if not verbose and len(skips) > 8:
        console.print(f"  and {len(skips) - 8} more reasons", **plain)
    console.print(f"not checked here: {NOT_CHECKED}", **plain)
    console.print(
        f"{report.compared} comparisons, {len(report.failures)} failed, "
        f"{sum(skips.values())} not run, {report.seconds:.2f} s",
        **plain,
    )


def _share(ratio: float) -> str:
    return f"{ratio:.0%}" if ratio < 10 else f"{ratio:.1e}x"


def page(report: CandidateReport) -> str:
    """A self-contained page: verdict, table, distribution of errors per check, failures."""
    verdict = "no failure" if not report.failures else f"{len(report.failures)} failures"
    head = f"{report.name} ({report.framework})"
    columns = ("", "check", "looks for", "checks", "compared", "failed", "not run", "of bound")
    rows = "".join(
        f"<tr{' class=bad' if r['failed'] else ''}>"
        + "".join(
            f"<td>{html.escape(str(v))}</td>"
            for v in (
                r["letter"], r["family"], r["what"], r["checks"], r["compared"],
                r["failed"] or "", r["not run"] or "", _share(r["ratio"]),
            )
        )
        + "</tr>"
        for r in report.families()
    )  # fmt: skip
    failures = "".join(f"<li>{html.escape(line(f))}</li>" for f in report.failures)
    first = html.escape(script(report.trial, report.failures[0])) if report.failures else ""
    reproducer = f"<h2>Reproduce the first</h2><pre>{first}</pre>" if first else ""
    skips = "".join(f"<li>{n}: {html.escape(why)}</li>" for why, n in report.skips().items())
    waivers = "".join(
        f"<li>{html.escape(start)}: {html.escape(why)}{'' if hit else ' (not needed)'}</li>"
        for start, why, hit in report.waived()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(head)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(head)}: {verdict}</h1>"
        f"<p>Reference {html.escape(report.level)}. {report.compared} comparisons in "
        f"{report.seconds:.2f} s, seed {report.trial.points.seed}.</p>"
        f"<table><tr>{''.join(f'<th>{c}</th>' for c in columns)}</tr>{rows}</table>"
        f"<h2>Errors as a share of their bound</h2>"
        f'<img alt="errors per check" src="data:image/png;base64,{_plot(report)}">'
        + (f"<h2>Failures</h2><ul>{failures}</ul>" if failures else "")
        + (f"<p>{html.escape(report.hint)}</p>" if report.hint else "")
        + reproducer
        + (f"<h2>Waived</h2><ul>{waivers}</ul>" if waivers else "")
        + (f"<h2>Not run</h2><ul>{skips}</ul>" if skips else "")
        + f"<p>Not checked here: {html.escape(NOT_CHECKED)}.</p></html>\n"
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;"
    "color:#222}table{border-collapse:collapse}td,th{padding:.15rem .6rem;text-align:left;"
    "border-bottom:1px solid #ddd}tr.bad td{background:#fde8e8}pre{background:#f5f5f5;padding:1rem;"
    "overflow:auto}img{max-width:100%}"
)


def _plot(report: CandidateReport) -> str:
    """Every comparison as a point: its error over its bound, a row for each family."""
    from matplotlib.figure import Figure

    rows = [r["family"] for r in report.families()]
    figure = Figure(figsize=(9, 0.32 * len(rows) + 1.2), dpi=120)
    axes = figure.subplots()
    for k, family in enumerate(rows):
        ratios = [
            max(f.ratio, 1e-6) if not f.message else max(f.ratio, 1e3)
            for f in report.findings
            if f.leg == family and not f.skipped
        ]
        spread = [k + 0.28 * math.sin(7.3 * i) for i in range(len(ratios))]
        colours = ["#c0392b" if r > 1 else "#2c6fbb" for r in ratios]
        axes.scatter([min(r, 1e9) for r in ratios], spread, s=9, c=colours, alpha=0.6, linewidths=0)
    axes.axvline(1.0, color="#c0392b", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlabel("error / bound (exact results at 1e-6; failures without a number at 1e3)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return base64.b64encode(out.getvalue()).decode()
