"""python -m bpx health: train the networks of specimens.py under watch, and say what is diagnosed.

Exit code 1 where a diagnosis is not the fault that was planted.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bpx._command import CommandError, needs
from bpx.demo import checkpoint, report, specimens
from bpx.demo.command import installed, writable
from bpx.demo.specimens import Specimen
from bpx.health import Report, picture, table

NAME = "health.html"
HEAD = ("network", "planted", "diagnosis", "what shows it first")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", nargs="*", help="names of networks, all of them by default; --list has them"
    )
    parser.add_argument("--list", action="store_true", help="the networks and what is planted")
    parser.add_argument("--framework", choices=("torch", "jax"), default="torch")
    parser.add_argument("--seed", default="0", metavar="N", help="default 0")
    parser.add_argument("--report", default="bpx-report", metavar="DIR", help="default bpx-report")


def run(args: argparse.Namespace) -> int:
    if args.list:
        for each in specimens.ALL:
            print(f"{each.name:18}{each.fault:24}{each.about}")
        return 0
    chosen = [named(name) for name in args.network] or list(specimens.ALL)
    if not args.seed.isdecimal():
        raise CommandError(f"--seed is {args.seed!r}, expected a whole number, 0 or more")
    for module in ("matplotlib", "jinja2"):
        needs(module, "demo")
    (framework,) = installed(args.framework)
    path = writable(Path(args.report)) / NAME
    build = importlib.import_module(f"bpx_{framework}.specimens").report
    found = []
    print(line(HEAD))
    for each in chosen:
        found.append((each, diagnosed(each, build, int(args.seed), framework)))
        print(line(row(*found[-1])), flush=True)
    checkpoint.replace(path, page(found, framework, args.seed).encode())
    wrong = [each.name for each, said in found if said.diagnosis != each.fault]
    named_right = f"{len(found) - len(wrong)} of {len(found)} are named as planted"
    print(named_right + (f", not {', '.join(wrong)}" if wrong else ""))
    print(path.resolve())
    return int(bool(wrong))


def named(name: str) -> Specimen:
    """The network of a name. Raises CommandError where there is none."""
    for each in specimens.ALL:
        if each.name.lower() == name.lower():
            return each
    raise CommandError(f"there is no network {name!r}; python -m bpx health --list has them all")


def diagnosed(
    specimen: Specimen, build: Callable[..., Report], seed: int, framework: str
) -> Report:
    """Its report. In JAX outside of jit, since compiling takes longer than so few steps."""
    return build(specimen, seed, **({"jit": False} if framework == "jax" else {}))


def row(specimen: Specimen, said: Report) -> tuple[str, ...]:
    """The line of a network, by HEAD."""
    first = said.findings[0] if said.findings else None
    shown = f"step {first.step}: {first.evidence}" if first else ""
    return specimen.name, specimen.fault, said.diagnosis, shown


def line(cells: tuple[str, ...]) -> str:
    name, fault, said, shown = cells
    return f"{name:18}{fault:24}{said:24}{shown}".rstrip()


def page(found: list[tuple[Specimen, Report]], framework: str, seed: str) -> str:
    """The page: a table of all, then each network with its words, picture and numbers."""
    parts: list[dict[str, Any]] = []
    for specimen, said in found:
        step = said.findings[0].step if said.findings else said.samples[-1].step
        sample = next(s for s in said.samples if s.step == step)
        drawn = picture.svg(sample, said.thresholds)
        cells = {"row": row(specimen, said), "right": said.diagnosis == specimen.fault}
        parts.append(
            cells
            | {"about": specimen.about, "words": said.words.splitlines(), "picture": drawn}
            | {"step": sample.step, "table": table.rows(sample)}
        )
    return report.render(
        "health.html.j2", parts=parts, framework=framework, seed=seed, head=HEAD, columns=table.HEAD
    )
