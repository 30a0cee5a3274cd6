"""python -m bpx verify pkg.module:rule --ref pkg.module:plain --args "Float(3,'n'); Float('n')"."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from bpx._command import CommandError
from bpx.spec import SpecError
from bpx.verify.candidate import arguments, show
from bpx.verify.candidate.api import verify_rule


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a rule of yours (NAME is pkg.module:rule)")
    group.add_argument("--args", metavar="ARGS", help="\"Float(3,'n'); Index(3, below='n')\"")
    group.add_argument("--ref", metavar="M:F", help="the same function in plain operations")
    group.add_argument("--spec", metavar="M:S", help="NumPy (forward, backward), or an object")
    group.add_argument("--options", metavar="DICT", help="\"{'reduction': ['mean', 'sum']}\"")
    group.add_argument("--sizes", metavar="DICT", help="\"{'n': [4, 8]}\"")
    group.add_argument("--surrogate", metavar="M:F", help="definition(dy, *args) of its backward")
    group.add_argument("--twice", choices=("yes", "no"), help="second derivatives: right; refused")
    group.add_argument("--quick", action="store_true", help="the most telling checks alone")
    group.add_argument("--full", action="store_true", help="more seeds, more sizes, compilation")
    group.add_argument("--seed", type=int, default=0)
    group.add_argument(
        "--budget", type=float, metavar="SECONDS", help="2 in torch, 5 in JAX, 0.3 with --quick"
    )
    group.add_argument("--html", metavar="FILE", type=Path, help="write a page with the errors")


def run(args: argparse.Namespace) -> int:
    """One rule of somebody's. 0: clean, 1: a bug found, 2: could not run."""
    if len(args.names) != 1:
        raise CommandError(
            f"verify: {len(args.names)} rules are given, expected one pkg.module:rule"
        )
    if not args.args:
        raise CommandError("verify: --args is missing, expected \"Float(3,'n'); Float('n')\"")
    try:
        rule = load(args.names[0])
        how: dict[str, Any] = {
            "spec": load(args.spec) if args.spec else None,
            "ref": load(args.ref) if args.ref else None,
            "surrogate": load(args.surrogate) if args.surrogate else None,
            "options": literal("--options", args.options),
            "sizes": literal("--sizes", args.sizes),
            "twice": {"yes": True, "no": False, None: None}[args.twice],
            "framework": args.framework,
            "quick": args.quick,
            "full": args.full,
            "seed": args.seed,
            "budget": args.budget,
        }
        report = _with_bar(rule, arguments.read(args.args), how)
    except SpecError as error:
        raise CommandError(str(error)) from error
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    show.terminal(report, console, args.verbose)
    if args.json:
        write(args.json, json.dumps(report.json(), indent=1) + "\n")
    if args.html:
        write(args.html, show.page(report))
    if not any(not f.skipped for f in report.findings if f.leg in ("forward", "vjp")):
        raise CommandError(f"verify: nothing of {report.name} could be compared")
    return 1 if report.failures else 0


def _with_bar(rule: Any, args: Any, how: dict[str, Any]) -> Any:
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task("verify")

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, description=name)

        return verify_rule(rule, args, progress=progress, **how)


def load(where: str) -> Any:
    """The object at pkg.module:name.name."""
    module, _, names = where.partition(":")
    if not module or not names:
        raise CommandError(f"verify: {where!r} is no rule, expected pkg.module:name")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as python -m does: modules of the working directory
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise CommandError(
            f"verify: cannot import {module!r}: {type(error).__name__}: {error}"
        ) from error
    for name in names.split("."):
        if not hasattr(found, name):
            raise CommandError(f"verify: {module!r} has no {names!r}")
        found = getattr(found, name)
    return found


def literal(option: str, text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError) as error:
        raise CommandError(f"verify: {option} is {text!r}, expected a dict") from error
    if not isinstance(value, dict):
        raise CommandError(f"verify: {option} is {text!r}, expected a dict")
    return value


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"verify: cannot write {path}: {error.strerror}") from error
