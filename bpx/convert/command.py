"""python -m bpx convert SRC DST --to LAYOUT: a file of a model or run, in another layout."""

from __future__ import annotations

import argparse

from bpx._command import CommandError
from bpx.convert.run import CHOICES, load, save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="SRC", help="a file that bpx.convert.save wrote")
    parser.add_argument("target", metavar="DST", help="the file to write, whole or not at all")
    parser.add_argument("--to", choices=CHOICES, required=True, help="whose names and axes")


def run(args: argparse.Namespace) -> int:
    """Convert one file."""
    try:
        found = load(args.source)
    except OSError as error:
        raise CommandError(f"cannot read {args.source}: {error.strerror or error}") from error
    try:
        save(args.target, found, args.to)
    except OSError as error:
        raise CommandError(f"cannot write {args.target}: {error.strerror or error}") from error
    states = found.optimizer
    what = "no optimizer" if states is None else f"{states.name} at step {found.step}"
    print(f"{args.target}: {len(found.weights.arrays)} arrays, {what}, {args.to} layout")
    return 0
