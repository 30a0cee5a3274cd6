"""The command line: python -m bpx demo | walk | study | verify | vectors | show | bench | ..."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from bpx import __version__
from bpx._command import CommandError
from bpx.spec import SpecError

# name -> (module with add_arguments(parser) and run(args) -> int, help)
COMMANDS = {
    "demo": ("bpx.demo.command", "train a small network in lockstep in PyTorch and JAX"),
    "walk": ("bpx.demo.walk", "a chain of functions, forward and backward, number by number"),
    "health": ("bpx.demo.health", "why networks with planted faults do not train"),
    "study": ("bpx.demo.study", "feedback alignment against back-propagation, on the digits"),
    "verify": ("bpx.verify.command", "check gradients: bpx's own, or a rule of yours"),
    "vectors": ("bpx.vectors.command", "write the specification's values; check results by them"),
    "show": ("bpx.show", "what one primitive computes, keeps and costs; or the list of all"),
    "bench": ("bpx.bench", "time the kernels"),
    "build": ("bpx.build", "compile what binds the native core to the frameworks, ahead of use"),
    "convert": ("bpx.convert.command", "a file of a model or run, in another framework's layout"),
    "docs": ("bpx.docs", "write the reference pages from the entries"),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like every other mistake; --help has the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(
            2, f"{self.prog.removeprefix('python -m ')}: {message}; --help says what it takes\n"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 1 a failed check, 2 a mistake of the caller."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        # only the command that is named is imported: --help needs none of them
        parser = Parser(prog="python -m bpx", description=__doc__)
        parser.add_argument("--version", action="version", version=f"bpx {__version__}")
        commands = parser.add_subparsers(dest="command", metavar="command", required=True)
        module = None
        for name, (path, text) in COMMANDS.items():
            sub = commands.add_parser(name, help=text, description=text)
            if argv and argv[0] == name:
                module = importlib.import_module(path)
                module.add_arguments(sub)
        args = parser.parse_args(argv)
        assert module is not None, "argparse lets no unknown command through"
        return int(module.run(args))
    except (CommandError, SpecError) as error:
        print(f"bpx: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        # a framework that a command's module imports at its top
        if error.name in ("torch", "jax"):
            print(
                f"bpx: {error.name} is not installed: pip install 'bpx[{error.name}]'",
                file=sys.stderr,
            )
            return 2
        raise
    except BrokenPipeError:
        # the reader (head, less) has gone: let the interpreter's last flush find an open file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
