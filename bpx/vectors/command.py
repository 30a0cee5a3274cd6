"""python -m bpx vectors OUT | --check DIR: the specification as files, and results against them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bpx._command import CommandError, needs, unknown
from bpx.vectors.build import DTYPES
from bpx.vectors.check import Checked, check
from bpx.vectors.entries import ENTRIES, Entry
from bpx.vectors.folder import (
    answered,
    computed_vectors,
    read_manifest,
    read_results,
    read_vectors,
    write,
)

MOST = 40  # lines of what is wrong


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("out", nargs="?", type=Path, metavar="OUT", help="the folder of the vectors")
    add("--only", nargs="+", metavar="NAME", default=[], help="these entries; all without")
    add("--check", type=Path, metavar="DIR", help="results to compare, under the vectors' keys")
    add("--partial", action="store_true", help="entries and cases without a result are not wrong")
    add(
        "--textbook",
        action="store_true",
        help="allow every element the rounding of its array's largest, as autodiff of a textbook "
        "formula needs",
    )


def run(args: argparse.Namespace) -> int:
    """Write vectors, or compare results with them."""
    needs("rich", "demo")
    known = {spec.name: spec for spec in ENTRIES}
    for name in args.only:
        if name not in known:
            raise unknown(name, known)
    if args.check is None:
        if args.out is None:
            raise CommandError("vectors: OUT is missing, expected the folder to write to")
        if args.partial or args.textbook:
            raise CommandError("vectors: --partial and --textbook need --check DIR")
        return _write(args.out, [s for s in ENTRIES if not args.only or s.name in args.only])
    checked, left_out = _check(args, known)
    _show(checked)
    wrong = [line for one in checked for line in one.wrong]
    _tell(checked, left_out, wrong)
    if not wrong and not any(one.compared for one in checked):
        raise CommandError(f"vectors: nothing of {args.check} was compared")
    return 1 if wrong else 0


def _write(folder: Path, specs: list[Entry]) -> int:
    try:
        manifest = write(folder, _progress(specs))
    except OSError as error:
        raise CommandError(f"vectors: cannot write {folder}: {error.strerror}") from error
    cases = sum(len(e["cases"]) for e in manifest["entries"].values())
    print(f"{folder}: {len(specs)} entries, {cases} cases in {' and '.join(DTYPES)}")
    return 0


def _check(args: argparse.Namespace, known: dict[str, Entry]) -> tuple[list[Checked], list[str]]:
    """What was found of each entry that has results, and the entries that have none."""
    there = answered(args.check)
    source = args.out or args.check
    manifest = read_manifest(source)
    entries = manifest["entries"]
    for name in args.only:
        if name not in entries:
            raise CommandError(f"vectors: {source} has no vectors of {name}")
    asked = [name for name in entries if not args.only or name in args.only]
    checked, left_out = [], []
    for name in _progress(asked):
        if name not in there and args.partial:
            left_out.append(name)
            continue
        if args.out is not None:
            vectors = read_vectors(args.out, name, manifest)
        elif name in known:
            vectors = computed_vectors(known[name], manifest)
        else:
            raise CommandError(f"vectors: this bpx has no {name}: name the vectors' folder, too")
        results = read_results(args.check, name)
        if results is None:
            checked.append(Checked(name, wrong=[f"{name}: its file is missing"]))
            continue
        cancels = {c["name"]: c["cancels"] for c in entries[name]["cases"]}
        flags = {"partial": args.partial, "textbook": args.textbook}
        checked.append(check(name, vectors, results, cancels, **flags))
    if not args.only:
        foreign = sorted(there - set(entries))
        checked += [Checked(n, wrong=[f"{n}: there are no vectors of it"]) for n in foreign]
    return checked, left_out


def _progress(what: Iterable[Any]) -> Iterator[Any]:
    from rich.progress import track

    yield from track(list(what), description="vectors", transient=True)


def _show(checked: list[Checked]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="worst error in eps of the dtype, and of its bound")
    table.add_column("entry", no_wrap=True)
    for column in (*(c for d in DTYPES for c in (d, "of bound")), "arrays", "no result", "wrong"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in checked:
        errors = []
        for dtype in DTYPES:
            there = dtype in one.eps
            errors.append(f"{one.eps[dtype]:.2g}" if there else "")
            errors.append(f"{one.ratio[dtype]:.0%}" if there else "")
        wrong = f"[red]{len(one.wrong)}[/red]" if one.wrong else "0"
        table.add_row(one.entry, *errors, str(one.compared), str(one.absent or ""), wrong)
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _tell(checked: list[Checked], left_out: list[str], wrong: list[str]) -> None:
    for line in wrong[:MOST]:
        print(f"WRONG {line}")
    if len(wrong) > MOST:
        print(f"and {len(wrong) - MOST} more")
    compared, absent = sum(c.compared for c in checked), sum(c.absent for c in checked)
    print(f"{len(checked)} entries, {compared} arrays compared, {len(wrong)} wrong")
    if absent:
        print(f"not compared: {absent} cases without any result")
    if left_out:
        print(f"not compared: {len(left_out)} entries without results, such as {left_out[0]}")
