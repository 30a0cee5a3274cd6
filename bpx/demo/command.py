"""python -m bpx demo: one network on handwritten digits, trained in PyTorch and in JAX at once."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from pathlib import Path
from typing import Any

from bpx._command import CommandError, needs
from bpx.demo import settings as settings_of
from bpx.demo.settings import FRAMEWORKS, Settings

PACKAGES = ("sklearn", "matplotlib", "rich", "jinja2", "safetensors")
# what --init needs, and the options that these take
INIT_PACKAGES = ("matplotlib", "rich", "jinja2")
TAKES = {
    "--init": ("--framework", "--report", "--seed"),
    "--compare": ("--evaluations", "--framework", "--report", "--resume", "--seed"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings_of.add_arguments(parser)
    parser.add_argument("--framework", choices=(*FRAMEWORKS, "both"), default="both")
    parser.add_argument("--report", default="bpx-report", metavar="DIR", help="default bpx-report")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    parser.add_argument(
        "--init",
        action="store_true",
        help="instead: signals and gradients through 50 layers from each initializer",
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="instead: ten ways to train a small network, for the same number of evaluations",
    )
    parser.add_argument(
        "--evaluations", default="1500", metavar="N", help="of --compare, default 1500"
    )
    parser.add_argument(
        "--checkpoint-every", default="100", metavar="N", help="steps, default 100; 0: Ctrl-C alone"
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0; 1 where a gradient or a limit does not hold; 2 for a mistake; 130 after Ctrl-C."""
    try:
        settings = settings_of.from_arguments(args)
        every = settings_of.whole("--checkpoint-every", args.checkpoint_every)
        for package in INIT_PACKAGES if args.init else PACKAGES:
            needs(package, "demo")
        _alone(args)
        evaluations = settings_of.evaluations(args.evaluations)
        names = installed(args.framework)
        folder = writable(Path(args.report))
        if args.init:
            init = importlib.import_module("bpx.demo.propagation_run")
            return int(init.run(names, folder, settings.seed))
        if args.compare:
            compare = importlib.import_module("bpx.demo.compare_run")
            words = " ".join(["python -m bpx demo", *_words(args)])
            return int(compare.run(names, folder, settings.seed, evaluations, args.resume, words))
        again = ["python -m bpx demo", *_words(args)]
        session = importlib.import_module("bpx.demo.session")
        return int(session.run(settings, names, folder, args.resume, every, " ".join(again)))
    except CommandError as error:
        print(f"bpx demo: {error}", file=sys.stderr)
        return 2


def _alone(args: argparse.Namespace) -> None:
    """Raise for an option that --init or --compare would not read, or the demo of these."""
    given = [word.split()[0] for word in _words(args)[:-1]] + ["--resume"] * args.resume
    mode = next((m for m in TAKES if getattr(args, m[2:])), None)
    if mode is None:
        if "--evaluations" in given:
            raise CommandError("--evaluations goes with --compare alone")
        return
    for option in given:
        if option != mode and option not in TAKES[mode]:
            takes = f"{', '.join(TAKES[mode][:-1])} and {TAKES[mode][-1]}"
            raise CommandError(f"{option} does not go with {mode}, which takes {takes}")


def installed(asked: str) -> list[str]:
    """The frameworks to run. A missing one is said, and is an error where it was asked for."""
    found, missing = [], []
    for name in FRAMEWORKS if asked == "both" else (asked,):
        try:
            needs(name, name)
            found.append(name)
        except CommandError as error:
            missing.append(str(error))
    if not found:
        raise CommandError("; ".join(missing))
    for sentence in missing:
        print(f"bpx demo: {sentence}", file=sys.stderr)
    return found


def writable(folder: Path) -> Path:
    """The report folder, made if there is none, once a file has been written there."""
    probe = folder / ".bpx-probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CommandError(f"cannot write to {folder}: {error.strerror}") from error
    return folder


def _words(args: argparse.Namespace) -> list[str]:
    """The options of this run that are not the defaults, as they are typed, with --resume."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given: dict[str, Any] = vars(args)
    words = [
        f"--{k.replace('_', '-')}{'' if given[k] is True else ' ' + shlex.quote(str(given[k]))}"
        for k, default in vars(parser.parse_args([])).items()
        if k != "resume" and given[k] != default
    ]
    return [*words, "--resume"]


def trainers(names: list[str], settings: Settings, network: Any, weights: Any) -> list[Any]:
    """A trainer of each framework, from the same weights."""
    modules = [importlib.import_module(f"bpx_{name}.demo") for name in names]
    for module in modules:
        module.prepare(settings.dtype)
    return [module.Trainer(network, weights, settings) for module in modules]
