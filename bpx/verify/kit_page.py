"""The page of planted bugs, from the stored results of `python -m bpx verify --self-test`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

RESULTS = "kit.json"
PAGE = "kit.md"
FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}

TEXT = """\
# Planted bugs

Each row is the mechanism of a bug that was met in public, planted in a small rule beside a correct
twin. A bug counts as caught where a check fails that is responsible for its mechanism; the correct
twin has to pass every check. The framework's own checker looks at the same wrong rule, with its
defaults, at one generic point.

Bugs and kit have the same authors: this says that the checks suffice for known mechanisms, not how
many unknown ones they reach. What is out of reach is in
[what the kit cannot see](what-the-kit-cannot-see.md).

    python -m bpx verify --self-test --json docs/kit.json
    python -m bpx docs

measure again and write this page.
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """The page in Markdown."""
    lines = [TEXT]
    for framework, title in FRAMEWORKS.items():
        found = [r for r in results if r["framework"] == framework]
        if found:
            lines += [f"## {title}", "", *_framework(found), ""]
    return "\n".join(lines)


def _framework(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    others = list(found[0]["others"])
    alarms, compared = sum(len(r["alarms"]) for r in found), sum(r["compared"] for r in found)
    caught = sum(r["caught"] for r in found)
    yield f"{len(found)} bugs planted, {caught} caught by the kit."
    for name in others:
        yield f"`{name}` catches {sum(r['others'][name] for r in found)}."
    yield f"The correct twins raise {alarms} alarms in {compared} comparisons."
    yield ""
    yield f"| bug | caught by | {' | '.join(f'`{n}`' for n in others)} |"
    yield "|---|---|" + "---|" * len(others)
    for r in found:
        by = ", ".join(r["caught_by"]) if r["caught"] else "MISSED"
        also = " | ".join("caught" if r["others"][n] else "" for n in others)
        yield f"| {r['mechanism']} | {by} | {also} |"
