"""The page of planted bugs, from the stored results of `python -m bpx verify --self-test`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from bpx.verify.candidate import budget
from bpx.verify.self_test import counts, kinds

RESULTS = "kit.json"
PAGE = "kit.md"
FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}

# rows that are planted in PyTorch alone, and why
NOT_IN_JAX = {
    (2, 4): "JAX itself refuses a cotangent of another shape",
    (8, 14, 16, 17, 19, 20): "an array of JAX has no strides",
    (13,): "JAX itself refuses another number of cotangents",
    (62, 64, 65, 67, 68): "an array of JAX is not written to, and never unwritten",
    (86, 89): "a custom_vjp is handed zeros, never None",
    (91, 92, 94): "there is no graph to be detached from",
    (101,): "a transformation has no gradient of its own to write to",
    (10, 11, 26, 31, 37, 53, 59, 82, 106, 107): "arithmetic, planted once",
}

TEXT = """\
# Planted bugs

Each row is the mechanism of a bug that was met in public, planted in a small rule beside a correct
twin. A bug counts as caught where a check fails that is responsible for its mechanism; the correct
twin has to pass. The framework's own checkers look at the same wrong rule, with their defaults, at
one generic point; optimizers are nothing for them (-).

Bugs and kit have the same authors: this says that the checks suffice for known mechanisms, not how
many unknown ones they reach. What is out of reach is in
[what the kit cannot see](what-the-kit-cannot-see.md).

    python -m bpx verify --self-test --all --json docs/kit.json
    python -m bpx docs

measure again and write this page; without `--all`, correct functions are left out. Seconds are of
the process, on all its processors.
"""


def page(results: Sequence[dict[str, Any]]) -> str:
    """The page in Markdown."""
    lines = [TEXT]
    for framework, title in FRAMEWORKS.items():
        found = [r for r in results if r["framework"] == framework]
        if found:
            lines += [f"## {title}", "", *_framework(found), ""]
    lines += ["## Found in PyTorch itself", "", *_found(results), ""]
    lines += ["## Planted in PyTorch alone", "", "| rows | why |", "|---|---|"]
    for rows, why in NOT_IN_JAX.items():
        lines.append(f"| {', '.join(map(str, rows))} | {why} |")
    return "\n".join([*lines, ""])


def _found(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the kit says of the frameworks' own functions: no alarms, facts."""
    yield "| function | what is found | the worst of it |"
    yield "|---|---|---|"
    for r in results:
        if "found" in r:
            yield f"| `{r['name']}` | {r['what']} | {r['found'] or 'not found any more'} |"


def _framework(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    plants = [r for r in found if "row" in r]
    others = list(plants[0]["others"])
    alarms, compared = counts(plants)
    caught = sum(r["caught"] for r in plants)
    yield f"{len(plants)} bugs planted, {caught} caught by the kit."
    for name in others:
        seen = [r["others"][name] for r in plants if r["others"][name] is not None]
        yield f"`{name}` catches {sum(seen)} of {len(seen)}."
    yield f"The correct twins raise {alarms} alarms in {compared} comparisons."
    for kind, of_kind in kinds(list(found)).items():
        alarms, compared = counts(of_kind)
        yield f"{len(of_kind)} {kind} raise {alarms} in {compared}."
        if spent := [r["seconds"] for r in of_kind if "seconds" in r]:
            limit = budget.SECONDS[found[0]["framework"]]
            whole = sum(s <= limit for s in spent)
            yield f"A whole plan takes {median(spent):.2f} s (median), at most {max(spent):.1f} s;"
            yield f"the default budget of {limit:g} s holds {whole} of them whole."
    yield ""
    yield f"| row | bug | caught by | {' | '.join(f'`{n}`' for n in others)} |"
    yield "|--:|---|---|" + "---|" * len(others)
    for r in plants:
        by = ", ".join(r["caught_by"]) if r["caught"] else "MISSED"
        also = " | ".join({True: "caught", False: "", None: "-"}[r["others"][n]] for n in others)
        yield f"| {r['row']} | {r['mechanism']} | {by} | {also} |"
