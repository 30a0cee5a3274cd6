"""python -m bpx show [NAME]: what one primitive computes, keeps and costs; or the list of all."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpx import native
from bpx._command import unknown
from bpx._cut import ROOT
from bpx._page import Entry, Table, entries, files, kind, tables, title
from bpx.spec import Op
from bpx.verify.draw import Draw

FRAMEWORKS = {"torch": "bpx_torch", "jax": "bpx_jax"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="an entry, such as layer_norm")


def run(args: argparse.Namespace) -> int:
    """Print one entry or the list."""
    known = entries()
    if args.name is None:
        print("\n".join(listing(known)))
        return 0
    if args.name not in known:
        raise unknown(args.name, known)
    print("\n".join(page(known[args.name])))
    return 0


def listing(known: dict[str, Entry]) -> Iterator[str]:
    """One line to an entry, under its folder; then the state of the native core."""
    width = max(map(len, known), default=0)
    before = None
    for name, entry in known.items():
        if (group := kind(entry)) != before:
            yield f"{group}" if before is None else f"\n{group}"
            before = group
        yield f"  {name:<{width}}  {title(entry)}"
    yield ""
    yield f"{len(known)} entries; python -m bpx show NAME tells more of one"
    yield f"native core: {native.available() or 'built'}"


def page(entry: Entry) -> Iterator[str]:
    """The lines for one entry."""
    yield f"{entry.name}  ({kind(entry)})"
    yield ""
    yield entry.doc.strip("\n")
    every = [*tables(entry)]
    if isinstance(entry, Op):
        every.append(kernels(entry))
    for table in (*every, files(entry)):
        yield ""
        yield table.title
        yield from _aligned(table)
    if (ROOT / (written := f"docs/{kind(entry)}/{entry.name}.md")).exists():
        yield f"    page     {written}"


def kernels(entry: Op) -> Table:
    """Which kernels would run the entry's first case in float32 on this machine, and why not."""
    rows = []
    for framework, package in FRAMEWORKS.items():
        if importlib.util.find_spec(framework) is None:
            rows.append((framework, "-", f"not installed: pip install 'bpx[{framework}]'"))
            continue
        rule = importlib.import_module(package).RULES.get(entry.name)
        if rule is None:
            rows.append((framework, "-", "no rule"))
            continue
        arrays, dims = _first_case(rule, _converter(framework))
        refusals = [(k.name, k.refuses(arrays, dims)) for k in rule.kernels]
        first = next(name for name, reason in refusals if reason is None)
        for name, reason in refusals:
            state = reason or ("available, chosen" if name == first else "available")
            rows.append((framework, name, state))
    return Table("Kernels here", ("", "kernel", "for small float32 arrays"), tuple(rows))


def _first_case(rule: Any, convert: Callable[[Any], Any]) -> tuple[tuple[Any, ...], Any]:
    """The arrays of the entry's first case in the framework, and their dims."""
    spec = rule.spec
    case = next(iter(spec.cases(Draw(spec.name))))
    given = [case.arrays.get(a.name) for a in spec.args]
    arrays = tuple(None if a is None else convert(np.asarray(a)) for a in given)
    shapes = tuple(None if a is None else tuple(a.shape) for a in arrays)
    return arrays, rule.bind(shapes, case.options)[1]


def _converter(framework: str) -> Callable[[Any], Any]:
    make: Callable[[Any], Any] = (
        importlib.import_module("torch").from_numpy
        if framework == "torch"
        else importlib.import_module("jax.numpy").asarray
    )
    return lambda a: make(a.astype("float32" if a.dtype.kind == "f" else "int32"))


def _aligned(table: Table) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table.rows, strict=True)]
    for row in table.rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"    {'  '.join(cells)}".rstrip()
