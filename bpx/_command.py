"""What the subcommands of `python -m bpx` share: their one kind of error, and optional packages."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class CommandError(Exception):
    """A mistake of the caller: one line, exit code 2."""


def needs(module: str, extra: str) -> ModuleType:
    """The imported module, or a CommandError that says which extra brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise CommandError(f"{missing} is not installed: pip install 'bpx[{extra}]'") from error


def unknown(name: str, known: Iterable[str]) -> CommandError:
    """The error for a name that no entry has, with the names closest to it."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else "python -m bpx show lists them all"
    return CommandError(f"there is no {name!r}; {hint}")
