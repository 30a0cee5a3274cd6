"""python -m bpx verify: every leg of every primitive, as a table with the real errors."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpx import ALL
from bpx._command import CommandError, needs, unknown
from bpx.spec import Op, SpecError
from bpx.verify import DTYPES, LEGS, Finding, Report, self_test, verify_op, verify_spec
from bpx.verify.candidate import command as candidate

FRAMEWORKS = ("torch", "jax")
GPU_KERNELS = ("triton", "pallas")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="primitives; all without a name")
    parser.add_argument("--framework", choices=FRAMEWORKS, help="one framework; both without")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=(*DTYPES, "float16"), help="one dtype; three without")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every row to this file")
    parser.add_argument("--verbose", action="store_true", help="a row per rule, every reason")
    parser.add_argument(
        "--self-test", action="store_true", help="plant the bugs of the zoo and count the caught"
    )
    parser.add_argument(
        "--all", action="store_true", help="with --self-test: correct functions too, and alarms"
    )
    candidate.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    needs("rich", "demo")
    if any(":" in name for name in args.names):
        return candidate.run(args)
    if args.self_test:
        return self_test.run(args, present(args.framework))
    specs = chosen(args.names)
    dtypes = (args.dtype,) if args.dtype else DTYPES
    runners = [runner(name, args.device) for name in present(args.framework)]
    report = Report()
    for findings in progress(specs, runners, dtypes):
        report.add(findings)
    show(report, args.verbose)
    ran = [f.kernel for f in report.findings if f.kernel in GPU_KERNELS and not f.skipped]
    if ran and args.device == "cpu":
        kernels = " and ".join(k for k in GPU_KERNELS if k in ran)
        print(
            f"on the CPU: {len(ran)} comparisons of {kernels} kernels ran interpreted; "
            "compiled for a GPU: not run"
        )
    if args.json:
        write(args.json, report)
    return 1 if report.failures else 0


def chosen(names: list[str]) -> list[Op]:
    """The primitives asked for, in the order of the spec; all without a name."""
    known = {spec.name: spec for spec in ALL}
    for name in names:
        if name not in known:
            raise unknown(name, known)
    return [spec for spec in ALL if not names or spec.name in names]


def present(asked: str | None) -> list[str]:
    """The frameworks to verify: the one asked for, or those installed, at least one."""
    names = [asked] if asked else [f for f in FRAMEWORKS if importlib.util.find_spec(f)]
    if not names:
        raise CommandError("verify: neither torch nor jax is installed: pip install 'bpx[torch]'")
    for name in names:
        needs(name, name)
    for name in set(FRAMEWORKS) - set(names) if not asked else ():
        print(f"{name} is not installed: its rules are not verified (pip install 'bpx[{name}]')")
    return names


def runner(framework: str, device: str) -> Any:
    try:
        return importlib.import_module(f"bpx_{framework}.verify").RUNNER(device)
    except SpecError as error:
        raise CommandError(str(error)) from error


def progress(
    specs: list[Op], runners: list[Any], dtypes: tuple[str, ...]
) -> Iterator[list[Finding]]:
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task("verify", total=len(specs) * (1 + len(runners)))
        for spec in specs:
            bar.update(task, description=f"{spec.name}: spec")
            yield list(verify_spec(spec)) if "float64" in dtypes else []
            bar.advance(task)
            for one in runners:
                bar.update(task, description=f"{spec.name}: {one.name}")
                yield list(verify_op(one.rules[spec.name], one, dtypes))
                bar.advance(task)


def show(report: Report, verbose: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="worst error of each leg, in eps of its dtype")
    names = ("primitive", "rule") if verbose else ("primitive",)
    for column in (*names, *LEGS, "of bound", "checks", "not run"):
        table.add_column(column, justify="left" if column in names else "right", no_wrap=True)
    for row in report.rows(by_rule=verbose):
        cells = [cell(row["legs"].get(leg)) for leg in LEGS]
        counts = (f"{row['ratio']:.0%}", str(row["compared"]), str(row["skipped"] or ""))
        rule = (f"{row['framework']} {row['kernel']}",) if verbose else ()
        table.add_row(row["entry"], *rule, *cells, *counts)
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
    for failure in report.failures:
        console.print("FAILED", str(failure), markup=False, highlight=False, soft_wrap=True)
    skips = report.skips()
    failed, left_out = len(report.failures), sum(skips.values())
    console.print(f"{report.compared} comparisons, {failed} failed, {left_out} not run")
    for reason, count in skips.items() if verbose else list(skips.items())[:12]:
        console.print(f"  not run, {count} times: {reason}", markup=False, soft_wrap=True)
    if not verbose and len(skips) > 12:
        console.print(f"  and {len(skips) - 12} more reasons: --verbose names them")


def cell(leg: dict[str, Any] | None) -> str:
    if leg is None:
        return ""
    if leg["failed"]:
        return "[red]FAIL[/red]"
    return "ok" if leg["eps"] == 0 else f"{leg['eps']:.2g}"


def write(path: Path, report: Report) -> None:
    try:
        path.write_text(json.dumps(report.rows(), indent=1) + "\n")
    except OSError as error:
        raise CommandError(f"verify: cannot write {path}: {error.strerror}") from error
