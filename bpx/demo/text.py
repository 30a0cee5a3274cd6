"""Text that Python itself carries: the docstrings of a fixed list of its library's modules.

They are read from the source files without importing them, module after module in the order of the
list and definition after definition in the order of the source, so that they are the same on every
machine with this version of Python. Every tenth docstring is held back.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bpx._command import CommandError

MODULES = """
    _pydecimal _collections_abc _pyio argparse ast base64 bdb calendar codecs collections
    configparser contextlib copy csv dataclasses difflib doctest email enum fileinput fractions
    ftplib functools gettext graphlib gzip heapq http imaplib inspect ipaddress json locale logging
    mailbox mimetypes numbers optparse os pdb pickle pickletools platform poplib pstats pydoc queue
    random re sched selectors shelve shutil smtplib socket socketserver ssl statistics string
    subprocess tarfile tempfile textwrap threading timeit tokenize traceback typing uuid warnings
    wave weakref zipfile
""".split()
ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # what else is met counts as "?"
HELD_BACK = 10  # one of so many
END = "\n\n"  # after every docstring


@dataclass(frozen=True)
class Text:
    """Characters as places in ALPHABET (int32), and a digest of all of them."""

    train: Any
    test: Any
    docstrings: int
    digest: str


def load() -> Text:
    """Raises CommandError where Python came without its source files."""
    found = [text for name in MODULES for text in docstrings(source(name))]
    train: list[str] = []
    test: list[str] = []
    for i, text in enumerate(found):
        (test if i % HELD_BACK == HELD_BACK - 1 else train).append(text + END)
    digest = hashlib.sha256("".join((*train, "\0", *test)).encode()).hexdigest()[:12]
    return Text(encode("".join(train)), encode("".join(test)), len(found), digest)


def source(name: str) -> str:
    """The source of a module of the standard library."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in (folder / f"{name}.py", folder / name / "__init__.py"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise CommandError(
        f"there is no source of {name} in {folder}: the transformer reads the docstrings of "
        "Python's own library"
    )


def docstrings(code: str) -> list[str]:
    """Of the module, its classes and functions, as written, without the common indentation."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, kinds)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))
    return [text for node in nodes if (text := ast.get_docstring(node))]


def encode(text: str) -> Any:
    places = {c: i for i, c in enumerate(ALPHABET)}
    other = places["?"]
    return np.array([places.get(c, other) for c in text.expandtabs(8)], np.int32)


def decode(places: Any) -> str:
    return "".join(ALPHABET[i] for i in places)
