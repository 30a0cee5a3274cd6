"""A report as one HTML page that needs no other file."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from bpx._command import CommandError
from bpx.health import picture, table
from bpx.health.remedies import MEANING

if TYPE_CHECKING:
    from bpx.health.report import Report

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
td:nth-child(-n+2), th:nth-child(-n+2) { text-align: left; }
svg { max-width: 100%; height: auto; background: white; }
"""


def html(report: Report) -> str:
    """Diagnosis, findings, and the latest sample as picture and table."""
    sample = report.samples[-1]
    try:
        drawn = picture.svg(sample, report.thresholds)
    except CommandError as error:
        drawn = f"<p>no picture: {escape(str(error))}</p>"
    findings = "".join(f"<li>{escape(f.words)}</li>" for f in report.findings)
    head = "".join(f"<th>{escape(c)}</th>" for c in table.HEAD)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>"
        for row in table.rows(sample)
    )
    named = f"{report.diagnosis}: {MEANING[report.diagnosis]}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>gradient health: {escape(report.diagnosis)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(named)}</h1><ol>{findings}</ol>"
        f"<h2>step {sample.step}</h2>{drawn}<table><tr>{head}</tr>{body}</table></body></html>\n"
    )
