"""python -m bpx verify --self-test: the kit on planted bugs, beside the frameworks' own checkers.

With --all also on correct functions: the frameworks' own and every rule of bpx. Each framework runs
in a process of its own, both at once.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from bpx._command import CommandError

LINE = "found "  # before every line of a process that is read here
LIMIT = 300.0  # seconds of a check on a machine that does other things too
Result = dict[str, Any]


def run(args: argparse.Namespace, frameworks: list[str]) -> int:
    """Print a line per plant and the counts. 0: all caught and no alarm; 1: not so."""
    from rich.console import Console

    console = Console()
    plain: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
    start, results = time.perf_counter(), []
    for result in results_of(frameworks, args.all, args.names):
        results.append(result)
        console.print(line(result), **plain)
    for framework in frameworks:
        for text in summary([r for r in results if r["framework"] == framework], framework):
            console.print(text, **plain)
    console.print(f"{time.perf_counter() - start:.0f} s", highlight=False)
    if args.json:
        from bpx.verify.candidate.command import write

        write(args.json, json.dumps(results, indent=1) + "\n")
    return int(any(r["alarms"] or not r.get("caught", True) for r in results))


def results_of(frameworks: list[str], every: bool, names: list[str]) -> Iterator[Result]:
    """What was found, one process for each framework."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-m", "bpx.verify.self_test"]
    more = [*(["--all"] if every else []), *names]
    runs = [
        subprocess.Popen(
            [*command, framework, *more], stdout=subprocess.PIPE, text=True, env=environment
        )
        for framework in frameworks
    ]
    texts = [_drained(process) for process in runs]
    for framework, process, lines in zip(frameworks, runs, texts, strict=True):
        for text in lines:
            if text.startswith(LINE):
                yield json.loads(text.removeprefix(LINE))
        if process.wait() != 0:
            raise CommandError(f"verify: the self-test of {framework} ended with {process.wait()}")


def _drained(process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines that a process prints, read as they come: one that nobody reads would stand still
    when its pipe is full."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for text in process.stdout:
            lines.put(text)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return iter(lines.get, None)


def line(result: Result) -> str:
    alarm = f"FALSE ALARM: {result['alarms'][0]}" if result["alarms"] else ""
    if "found" in result:
        state = f"{result['what']} ({result['found'] or 'nothing found any more'})"
        return f"{result['framework']:5} itself: {result['name']}: {state}"
    if "correct" in result:
        state = alarm or f"no alarm in {result['compared']} comparisons"
        return f"{result['framework']:5} {result['correct']}: {result['name']}: {state}"
    state = "caught by " + ", ".join(result["caught_by"]) if result["caught"] else "MISSED"
    state += f"; {alarm}" if alarm else ""
    return f"{result['framework']:5} {result['row']:3}  {result['mechanism']}: {state}"


def _worst(report: Any) -> str:
    """The failure that is furthest off, or the first that has no figure."""
    shapes = [f for f in report.failures if f.message]
    return str(shapes[0] if shapes else max(report.failures, key=lambda f: f.ratio, default=""))


def summary(results: list[Result], framework: str) -> Iterator[str]:
    plants = [r for r in results if "row" in r]
    if plants:
        planted, caught = len(plants), sum(r["caught"] for r in plants)
        alarms, compared = counts(plants)
        yield (
            f"{framework}: {planted} bugs planted, {caught} caught, {planted - caught} missed; "
            f"{alarms} false alarms in {compared} comparisons of the correct twins"
        )
        for name in plants[0]["others"]:
            seen = [r["others"][name] for r in plants if r["others"][name] is not None]
            yield f"  {name} with its defaults: {sum(seen)} of {len(seen)}"
    for kind, found in kinds(results).items():
        alarms, compared = counts(found)
        yield f"{framework}: {len(found)} {kind}, {alarms} alarms in {compared} comparisons"


def counts(found: list[Result]) -> tuple[int, int]:
    """(alarms, comparisons)."""
    return sum(len(r["alarms"]) for r in found), sum(r["compared"] for r in found)


def kinds(results: list[Result]) -> dict[str, list[Result]]:
    """Correct functions by what they are."""
    found: dict[str, list[Result]] = {}
    for r in results:
        if "correct" in r:
            found.setdefault(r["correct"], []).append(r)
    return found


def main(framework: str, *more: str) -> int:
    """What the kit says in one framework, a line of JSON each."""
    names = [n for n in more if n != "--all"]
    for found in () if names else _plants(framework):
        print(LINE + json.dumps(found), flush=True)
    for found in _correct(framework, names) if "--all" in more else ():
        print(LINE + json.dumps(found), flush=True)
    return 0


def _plants(framework: str) -> Iterator[Result]:
    from bpx.verify.zoo import judge

    zoo = importlib.import_module(f"bpx_{framework}.zoo")
    others = importlib.import_module(f"bpx_{framework}.zoo.others").OTHERS
    for verdict in judge(zoo.PLANTS, framework, others):
        yield {
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


def _correct(framework: str, names: list[str]) -> Iterator[Result]:
    """The framework's own functions, then the rules of bpx with every set of their arguments; the
    rules of these names alone, where there are some."""
    from bpx.verify.candidate import api, entries

    def found(kind: str, name: str, report: Any) -> Result:
        alarms = [str(f) for f in report.failures]
        return {"framework": framework, "correct": kind, "name": name, "alarms": alarms,
                "compared": report.compared, "seconds": round(report.spent, 3)}  # fmt: skip

    zoo = importlib.import_module(f"bpx_{framework}.zoo.correct")
    host = importlib.import_module(f"bpx_{framework}.candidate.host").HOST
    for one in () if names else zoo.CORRECT:
        yield found("functions of the framework", one.name, one.report(framework))
    for what, one in {} if names else zoo.FOUND.items():
        yield {"framework": framework, "name": one.name, "what": what, "alarms": [],
               "found": _worst(one.report(framework))}  # fmt: skip
    for name, rule in importlib.import_module(f"bpx_{framework}").RULES.items():
        if names and name not in names:
            continue
        for trial in entries.each(rule, host, dtypes=api.DTYPES):
            shown = f"{name}({', '.join(entries.names(trial))})"
            yield found("rules of bpx", shown, api.judge(trial, api.plan(trial), limit=LIMIT))
        host.forget()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
