"""Bugs planted in the syntax tree of a module, to see the checks fail.

    for mutant in mutants(module, "backward"):
        mutant.namespace["RULE"]      the module's names, as the changed source defines them

One change to a mutant: an operator, a dropped term, a sign, a constant, a reduction, a comparison.
A change that leaves the bytecode as it was (in a comment, in a docstring) is no mutant.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.Lt,
    ast.Lt: ast.Gt,
    ast.GtE: ast.Lt,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
NAMES = {"mean": "sum", "sum": "mean", "sin": "cos", "cos": "sin", "rsqrt": "sqrt", "sqrt": "exp"}


@dataclass(frozen=True)
class Mutant:
    """What was changed, the source line it was changed in, and the changed module's names."""

    description: str
    line: str
    namespace: dict[str, Any]


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], ast.AST]]]:
    """What can be done to one node: a description, and the change on a copy of it."""
    if isinstance(node, ast.BinOp):
        new = OPERATORS.get(type(node.op))
        if new is not None:
            op = new()
            yield (
                f"{type(node.op).__name__} became {new.__name__}",
                lambda n: ast.BinOp(n.left, op, n.right),
            )
        if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
            yield "right operand dropped", lambda n: n.left
            yield "left operand dropped", lambda n: n.right
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign dropped", lambda n: n.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        swapped = COMPARISONS[type(node.ops[0])]()
        yield "comparison turned", lambda n: ast.Compare(n.left, [swapped], n.comparators)
    elif (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    ):
        yield f"{node.value} became {node.value + 1}", lambda n: ast.Constant(n.value + 1)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        name = NAMES[node.attr]
        yield f"{node.attr} became {name}", lambda n: ast.Attribute(n.value, name, n.ctx)


class _Replace(ast.NodeTransformer):
    def __init__(self, place: int, change: Callable[[Any], ast.AST]) -> None:
        self.place, self.change, self.seen = place, change, -1

    def visit(self, node: ast.AST) -> Any:
        self.seen += 1
        if self.seen == self.place:
            return ast.copy_location(self.change(node), node)
        return self.generic_visit(node)


def _target(tree: ast.Module, name: str) -> int:
    """Index in the module's body of the function, or the assignment, with this name."""
    for i, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return i
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return i
    raise LookupError(f"no function or assignment {name!r}")


def _preorder(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _preorder(child)


def mutants(module: ModuleType, target: str) -> Iterator[Mutant]:
    """Every one-change mutant of a function or assignment in a module, executed."""
    source = inspect.getsource(module)
    original = ast.parse(source)
    place = _target(original, target)
    name = module.__file__ or module.__name__
    untouched = _essence(compile(original, name, "exec"))
    for k, node in enumerate(_preorder(original.body[place])):
        for description, change in _changes(node):
            tree = copy.deepcopy(original)
            tree.body[place] = _Replace(k, change).visit(tree.body[place])
            code = compile(ast.fix_missing_locations(tree), name, "exec")
            if _essence(code) == untouched:
                continue
            namespace: dict[str, Any] = {"__name__": module.__name__, "__file__": name}
            exec(code, namespace)
            line = source.splitlines()[getattr(node, "lineno", 1) - 1].strip()
            yield Mutant(f"{module.__name__}.{target}: {description}", line, namespace)


def _essence(code: CodeType) -> tuple[Any, ...]:
    """What a code object does, without where it stands in the file."""
    constants = tuple(
        _essence(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts
    )
    return code.co_code, constants, code.co_names
