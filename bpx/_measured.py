"""The pages that take the frameworks to write: what is kept for backward, what a rule can do.

Figures of one version of each framework, the pinned one; nothing in them depends on the machine.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from typing import Any

from bpx._page import Table, entries, kind
from bpx.verify.features import features
from bpx.verify.memory import Bytes, measured

FRAMEWORKS = {"torch": "PyTorch", "jax": "JAX"}
PAGES = ("features.md", "memory.md")


def missing() -> list[str]:
    """The frameworks that are not installed: without them the pages stay as they are."""
    return [f for f in FRAMEWORKS if importlib.util.find_spec(f) is None]


def texts() -> dict[str, tuple[list[str], list[tuple[str, Table]]]]:
    """Page -> its first lines, and a table under the name of each framework."""
    return {
        "features.md": (list(_FEATURES), [(n, feature_table(f)) for f, n in FRAMEWORKS.items()]),
        "memory.md": (list(_MEMORY), [(n, memory_table(f)) for f, n in FRAMEWORKS.items()]),
    }


def feature_table(framework: str) -> Table:
    """One row per entry: what its rule does beyond a gradient."""
    runner, rows = _runner(framework), []
    for name, rule in runner.rules.items():
        found = features(rule, runner)
        rows.append((_link(name), *found.values()))
    return Table("", ("entry", *found), tuple(rows))


def memory_table(framework: str, names: Iterable[str] = ()) -> Table:
    """One row per entry: bytes kept for backward."""
    rows = []
    for k in measured(_runner(framework), names):
        if not k.within():
            raise AssertionError(f"{k.entry} keeps more bytes for backward than autodiff: {k}")
        rows.append((_link(k.entry), k.shapes, *map(_bytes, (k.rule, k.autodiff, k.own))))
    head = ("entry", "arguments", "rule", "autodiff", f"{FRAMEWORKS[framework]}'s own")
    return Table("", head, tuple(rows))


def _runner(framework: str) -> Any:
    return importlib.import_module(f"bpx_{framework}.verify").RUNNER()


def _link(name: str) -> str:
    return f"[{name}]({kind(entries()[name])}/{name}.md)"


def _bytes(kept: Bytes | None) -> str:
    return "" if kept is None else f"{kept[0]:,} ({kept[1]:,})"


_FEATURES = (
    "# What each rule does beyond a gradient",
    "",
    "Of the plain kernel, from the rules' records; a test holds every *yes* against a check of the",
    "verification kit that was run and passed. What a rule does not do raises, and says so.",
    "Dtypes: float64, float32, bfloat16 and float16 are *all*. Autocast: *keep* leaves the",
    "arguments as they are, *lower* takes them to the autocast dtype, *lower but h0* all but h0,",
    "*float32* to that.",
)
_MEMORY = (
    "# Bytes kept for backward",
    "",
    "In float32 with the default options: all bytes that stay alive for the backward pass, and in",
    "brackets those that are neither an argument nor the output. *rule* is bpx's, *autodiff* the",
    "framework's derivative of the same forward written in plain operations, *own* that of the",
    "framework's own operation. An argument costs nothing where it lives on, as a weight or as",
    "what the operation before has kept; where it does not, the first number counts. Both numbers",
    "of every rule are at most autodiff's: the page is not written otherwise, and the verification",
    "kit checks it. A surrogate's backward is not the derivative of its forward, which autodiff of",
    "the forward would give: its first number is at most that of the framework's own expression",
    "with the same gradient.",
    "",
    "The kit looks at every case of an entry that has elements, hence every set of its options.",
)
