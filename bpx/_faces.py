"""Under which names of other libraries an entry is offered, and what the faces leave out.

A face is a module that offers rules under another library's names. It is read, not imported: each
of its names is followed through definitions and imports to the public functions of rules.
"""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bpx._cut import ROOT, read

FACES = {
    "bpx_torch": (
        "functional",
        "nn",
        "optim",
        "optim.lr_scheduler",
        "optim.clip_grad",
        "optim.swa_utils",
        "init",
        "surrogate",
    ),
    "bpx_jax": ("nn", "losses", "optim", "schedules", "transforms", "initializers", "surrogate"),
}
RECORDS = ("RULE", "RULES", "SPEC", "GAPS", "OPTIMIZERS", "SCHEDULES", "TRANSFORMS", "INITIALIZERS")
Paths = Mapping[str, Iterable[str]]


def names(package: str, paths: Paths) -> dict[str, list[str]]:
    """Entry name -> names in the faces, such as "nn.LayerNorm". `paths`: a file to its entries."""
    found: dict[str, list[str]] = defaultdict(list)
    for face in FACES[package]:
        if file := _file(f"{package}.{face}"):
            for name in _public(file):
                for entry in sorted(_reached(file, name, paths, set())):
                    found[entry].append(f"{face}.{name}")
    return found


def offered(package: str, face: str) -> list[str]:
    """Every name of a face, with or without an entry behind it."""
    file = _file(f"{package}.{face}")
    return [f"{face}.{name}" for name in _public(file)] if file else []


def belongs(name: str, entries: Iterable[str]) -> str | None:
    """The entry that a name belongs to: LeakyReLU to leaky_relu, BatchNorm2d to batch_norm."""
    plain = _plain(name)
    fits = [e for e in entries if _plain(e) in plain]
    return max(fits, key=lambda e: (_plain(e) == plain, len(e)), default=None)


def gaps(package: str) -> list[tuple[str, str]]:
    """What a face leaves out of the library it stands in for, with the reason."""
    found = []
    for face in FACES[package]:
        file = _file(f"{package}.{face}")
        left_out = constant(file, "GAPS") if file else None
        if isinstance(left_out, dict):
            found += [(f"{face}.{name}", str(reason)) for name, reason in left_out.items()]
    return found


def constant(file: Path, name: str) -> object:
    """The value of a top-level name of a file, from literals alone; None where there is none."""
    value = _value(file, name)
    if value is None:
        return None
    # bpx's own source, and no name but this one is left in it
    return eval(ast.unparse(value), {"__builtins__": {"dict": dict}})


class _Inline(ast.NodeTransformer):
    """Replaces names by what they stand for in a file, and in the files it imports from."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return _value(self.file, node.id) or node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        origin = (
            _imported(self.file).get(node.value.id) if isinstance(node.value, ast.Name) else None
        )
        file = _file(".".join(origin)) if origin else None
        return (_value(file, node.attr) if file else None) or self.generic_visit(node)


def _value(file: Path, name: str) -> ast.AST | None:
    value = getattr(read(file).definitions.get(name), "value", None)
    if isinstance(value, ast.expr):
        return _Inline(file).visit(copy.deepcopy(value))
    origin = _imported(file).get(name)
    module = _file(origin[0]) if origin else None
    return _value(module, origin[1]) if origin and module and module != file else None


def _public(file: Path) -> list[str]:
    listed = constant(file, "__all__")
    if isinstance(listed, list | tuple):
        return [str(name) for name in listed if name not in RECORDS]
    defined = [
        name
        for name, node in read(file).definitions.items()
        if isinstance(node, ast.FunctionDef | ast.ClassDef) or not name.isupper()
    ]
    imported = [
        local
        for local, (module, name) in _imported(file).items()
        if name not in RECORDS and not _file(f"{module}.{name}")
    ]
    return [name for name in (*defined, *imported) if not name.startswith("_")]


def _reached(file: Path, name: str, paths: Paths, seen: set[tuple[Path, str]]) -> set[str]:
    """The entries whose public functions a name of a file leads to."""
    if (file, name) in seen:
        return set()
    seen.add((file, name))
    imported, definition = _imported(file), read(file).definitions.get(name)
    if definition is None:
        return _of(*imported[name], paths, seen) if name in imported else set()
    found: set[str] = set()
    arguments = {node.arg for node in ast.walk(definition) if isinstance(node, ast.arg)}
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and node.id in arguments:
            continue
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, member = imported.get(node.value.id, ("", ""))
            found |= _of(f"{module}.{member}", node.attr, paths, seen)
        elif isinstance(node, ast.Name) and node.id != name:
            found |= _reached(file, node.id, paths, seen)
    return found


def _of(module: str, name: str, paths: Paths, seen: set[tuple[Path, str]]) -> set[str]:
    """The entries that a name of a module leads to."""
    if entries := paths.get("/".join(module.split(".")[1:])):
        only = next(iter(entries)) if name == "RULE" else None
        entry = only or belongs(name, entries)
        return {entry} if entry else set()
    file = _file(module)
    return _reached(file, name, paths, seen) if file else set()


def _imported(file: Path) -> dict[str, tuple[str, str]]:
    """Local name -> (module, name there), of what a file imports from bpx's packages."""
    return {local: (module, name) for local, module, name in _imports(file)}


def _imports(file: Path) -> Iterator[tuple[str, str, str]]:
    for node in read(file).tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FACES:
            yield from ((a.asname or a.name, str(node.module), a.name) for a in node.names)


def _file(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
