"""python -m bpx verify --self-test: the kit on planted bugs, beside the frameworks' own checkers.

Each framework runs in a process of its own, both at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from bpx._command import CommandError

LINE = "plant "  # before every line of a process that is read here


def run(args: argparse.Namespace, frameworks: list[str]) -> int:
    """Print a line per plant and the counts. 0: all caught and no alarm; 1: not so."""
    from rich.console import Console

    console = Console()
    start, results = time.perf_counter(), []
    for result in results_of(frameworks):
        results.append(result)
        console.print(line(result), markup=False, highlight=False, soft_wrap=True)
    alarms = 0
    for framework in frameworks if args.full else ():
        alarms += correct(framework, console)
    for framework in frameworks:
        for text in summary([r for r in results if r["framework"] == framework], framework):
            console.print(text, markup=False, highlight=False)
    console.print(f"{time.perf_counter() - start:.0f} s", highlight=False)
    if args.json:
        from bpx.verify.candidate.command import write

        write(args.json, json.dumps(results, indent=1) + "\n")
    return int(bool(alarms) or any(not r["caught"] or r["alarms"] for r in results))


def correct(framework: str, console: Any) -> int:
    """Correct functions of the framework: a line for each alarm, the counts. Returns the alarms."""
    known = importlib.import_module(f"bpx_{framework}.zoo.correct").CORRECT
    compared = alarms = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the frameworks warn of what is asked of them on purpose
        for one in known:
            report = one.report(framework)
            compared, alarms = compared + report.compared, alarms + len(report.failures)
            for failure in report.failures:
                console.print(f"FALSE ALARM: {one.name}: {failure}", markup=False, highlight=False)
    text = f"{framework}: {len(known)} correct functions, {alarms} alarms in {compared} comparisons"
    console.print(text, markup=False, highlight=False)
    return alarms


def results_of(frameworks: list[str]) -> Iterator[dict[str, Any]]:
    """The verdicts of every plant, one process for each framework."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "bpx.verify.self_test", framework],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for framework in frameworks
    ]
    for framework, process in zip(frameworks, runs, strict=True):
        assert process.stdout is not None
        for text in process.stdout:
            if text.startswith(LINE):
                yield json.loads(text.removeprefix(LINE))
        if process.wait() != 0:
            raise CommandError(f"verify: the self-test of {framework} ended with {process.wait()}")


def line(result: dict[str, Any]) -> str:
    state = "caught by " + ", ".join(result["caught_by"]) if result["caught"] else "MISSED"
    if result["alarms"]:
        state += f"; FALSE ALARM: {result['alarms'][0]}"
    return f"{result['framework']:5} {result['row']:3}  {result['mechanism']}: {state}"


def summary(results: list[dict[str, Any]], framework: str) -> Iterator[str]:
    planted, caught = len(results), sum(r["caught"] for r in results)
    alarms = sum(len(r["alarms"]) for r in results)
    compared = sum(r["compared"] for r in results)
    yield (
        f"{framework}: {planted} bugs planted, {caught} caught, {planted - caught} missed; "
        f"{alarms} false alarms in {compared} comparisons of the correct twins"
    )
    for name in results[0]["others"] if results else ():
        also = sum(r["others"][name] for r in results)
        yield f"  {name} with its defaults: {also} of {planted}"


def main(framework: str) -> int:
    """The plants of one framework, a line of JSON each."""
    from bpx.verify.zoo import judge

    zoo = importlib.import_module(f"bpx_{framework}.zoo")
    others = importlib.import_module(f"bpx_{framework}.zoo.others").OTHERS
    for verdict in judge(zoo.PLANTS, framework, others):
        found = {
            "framework": framework,
            "row": verdict.plant.row,
            "mechanism": verdict.plant.mechanism,
            "families": verdict.plant.families,
            "caught": verdict.caught,
            "caught_by": verdict.caught_by,
            "alarms": verdict.alarms,
            "compared": verdict.compared,
            "others": dict(verdict.others),
        }
        print(LINE + json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
