"""What belongs to one entry in a source file: its definitions and all that they name in that file.

Files are read, not imported, so pages can be written where no framework is installed.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# of a record: what computes; the rest (cases, rejects) is for the tests
COMPUTES = ("forward", "backward", "init", "step", "from_noise", "moments", "value")


@dataclass(frozen=True)
class Source:
    """One parsed file; `definitions` are the top-level statements by the names they bind."""

    text: str
    tree: ast.Module
    definitions: dict[str, ast.stmt]

    def segment(self, node: ast.AST) -> str:
        """The text of a statement with its decorators and the comment lines right above it."""
        lines, first = self.text.splitlines(), _first_line(node)
        while first > 1 and lines[first - 2].startswith("#"):
            first -= 1
        assert isinstance(node, ast.stmt)
        return "\n".join(lines[first - 1 : node.end_lineno])

    def closure(self, roots: list[ast.AST]) -> list[ast.stmt]:
        """The definitions that the roots name, and that those name in turn, in the file's order."""
        found: dict[str, ast.stmt] = {}
        queue = list(roots)
        while queue:
            for name in _names(queue.pop()):
                if name in self.definitions and name not in found:
                    found[name] = self.definitions[name]
                    queue.append(self.definitions[name])
        unique = {id(node): node for node in found.values()}
        return sorted(unique.values(), key=lambda node: node.lineno)


@functools.cache
def read(path: Path) -> Source:
    """Parse a file."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            definitions[node.name] = node
        else:
            definitions.update(dict.fromkeys(_targets(node), node))
    return Source(text, tree, definitions)


def spec_source(path: str, name: str) -> str:
    """The spec of one entry: forward, backward and what they call; a table row as it stands."""
    source = read(ROOT / "bpx" / f"{path}.py")
    statement, call = _record(source, name)
    if statement is None or call is None:
        return _body(source)
    values = [k.value for k in call.keywords if k.arg in COMPUTES]
    if values:
        return _join(source, source.closure(list(values)))
    # a row: its text, without the words, which the page has already
    row = source.segment(statement)
    for argument in call.args:
        if isinstance(argument, ast.Constant) and "\n" in str(argument.value):
            row = row.replace(ast.get_source_segment(source.text, argument) or "", '"""…"""')
    helpers = [n for n in source.closure([call]) if "PATH" not in _targets(n)]
    return "\n\n\n".join(filter(None, (_join(source, helpers), row)))


def rule_source(package: str, path: str, name: str) -> str | None:
    """The rule of one entry in one framework's tree; None where the tree has no such file."""
    file = ROOT / package / f"{path}.py"
    if not file.exists():
        return None
    source = read(file)
    roots = rule_roots(source, path, name)
    if not roots:
        return _body(source)
    nodes = {id(n): n for n in (*source.closure(list(roots)), *roots)}
    return _join(source, sorted(nodes.values(), key=lambda n: n.lineno))


def rule_roots(source: Source, path: str, name: str) -> list[ast.stmt]:
    """The statement that makes the rule of an entry, and its public function."""
    statement, _ = _record(read(ROOT / "bpx" / f"{path}.py"), name)
    record = next(_targets(statement), "SPEC") if statement is not None else "SPEC"
    aliases = {record}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom):
            aliases |= {a.asname for a in node.names if a.name == record and a.asname}
    roots = [
        node
        for node in source.tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(_last_name(argument) in aliases for argument in node.value.args)
    ]
    found: list[ast.stmt] = [*roots]
    if found and isinstance(public := source.definitions.get(name), ast.FunctionDef):
        found.append(public)
    return found


def kernels(package: str, path: str, name: str) -> tuple[str, ...]:
    """The kernels of a rule, fastest first; () where there is no rule."""
    file = ROOT / package / f"{path}.py"
    if not file.exists():
        return ()
    source = read(file)
    roots = rule_roots(source, path, name)
    if not roots:
        return ()
    named: list[str] = []
    for root in roots:
        for call in (n for n in ast.walk(root) if isinstance(n, ast.Call)):
            of_kernel = _last_name(call.func) in ("Kernel", "lazy") and call.args
            if of_kernel and isinstance(first := call.args[0], ast.Constant):
                named.append(str(first.value))
    return tuple(named) if "plain" in named else (*named, "plain")


def private(tree: str, path: str) -> list[str]:
    """The private files beside an entry's file that it imports from."""
    file = ROOT / tree / f"{path}.py"
    folder, found = ".".join((tree, *path.split("/")[:-1])), set()
    for node in read(file).tree.body if file.exists() else ():
        if isinstance(node, ast.ImportFrom) and node.module:
            for module in (node.module, *(f"{node.module}.{a.name}" for a in node.names)):
                if module.startswith(f"{folder}._") and module.count(".") == folder.count(".") + 1:
                    found.add(module.replace(".", "/") + ".py")
    return sorted(found)


def _record(source: Source, name: str) -> tuple[ast.stmt | None, ast.Call | None]:
    """The statement and the call that make the entry of this name."""
    for node in source.tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if not isinstance(value, ast.Call):
            continue
        named = [*value.args[:1], *(k.value for k in value.keywords if k.arg == "name")]
        if any(isinstance(v, ast.Constant) and v.value == name for v in named):
            return node, value
    return None, None


def _body(source: Source) -> str:
    """A whole file without its docstring and imports."""
    keep = [
        n
        for i, n in enumerate(source.tree.body)
        if not isinstance(n, ast.Import | ast.ImportFrom)
        and not (i == 0 and isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
    ]
    return _join(source, keep)


def _join(source: Source, nodes: list[ast.stmt]) -> str:
    """Statements as formatted code: two lines around a function or class, none between others."""
    text = ""
    for i, node in enumerate(nodes):
        if i:
            apart = isinstance(node, ast.FunctionDef | ast.ClassDef) or isinstance(
                nodes[i - 1], ast.FunctionDef | ast.ClassDef
            )
            text += "\n\n\n" if apart else "\n"
        text += source.segment(node)
    return text


def _first_line(node: ast.AST) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min(n.lineno for n in (*decorators, node) if isinstance(n, ast.stmt | ast.expr))


def _targets(node: ast.stmt | None) -> Iterator[str]:
    """The names that an assignment binds."""
    if isinstance(node, ast.Assign):
        yield from (n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id


def _names(node: ast.AST) -> Iterator[str]:
    yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _last_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else None
