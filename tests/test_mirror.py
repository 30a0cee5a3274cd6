"""The three trees mirror each other: files, entries, and the signatures of the public functions."""

import ast
import importlib
from pathlib import Path

import pytest

import bpx

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("activations", "layers", "losses", "fused", "surrogate", "initializers", "optimizers")
FOLDERS += ("schedules", "transforms")
FRAMEWORKS = {"torch": "bpx_torch", "jax": "bpx_jax"}
ENTRIES = {
    "RULES": {e.name: e for e in bpx.ALL},
    "OPTIMIZERS": {e.name: e for e in bpx.OPTIMIZERS},
    "SCHEDULES": {e.name: e for e in bpx.SCHEDULES},
    "TRANSFORMS": {e.name: e for e in bpx.TRANSFORMS},
    "INITIALIZERS": {e.name: e for e in bpx.INITIALIZERS},
}
EVERY = [e for group in ENTRIES.values() for e in group.values()]


def public_files(tree, folder):
    return {p.stem for p in (ROOT / tree / folder).glob("*.py") if not p.name.startswith("_")}


def functions(path):
    """name -> (positional names with defaults, keyword-only names with defaults), as written."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            a = node.args
            names = [arg.arg for arg in (*a.posonlyargs, *a.args)]
            defaults = ["required"] * (len(names) - len(a.defaults)) + list(map(_text, a.defaults))
            only = {k.arg: _text(d) for k, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)}
            found[node.name] = (list(zip(names, defaults, strict=True)), only)
    return found


def _text(node):
    return "required" if node is None else ast.unparse(node)


def public(entry):
    """framework -> signature of the entry's public function, where there is one."""
    found = {}
    for package in FRAMEWORKS.values():
        path = ROOT / package / f"{entry.path}.py"
        if path.exists() and (signature := functions(path).get(entry.name)):
            found[package] = signature
    return found


def test_names_are_unique():
    names = [e.name for e in EVERY]
    assert sorted(names) == sorted(set(names))
    assert len(names) > 10


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("package", FRAMEWORKS.values())
def test_same_files(package, folder):
    assert public_files(package, folder) == public_files("bpx", folder)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_has_an_entry(folder):
    assert public_files("bpx", folder) == {
        e.path.split("/")[1] for e in EVERY if e.path.split("/")[0] == folder
    }


@pytest.mark.parametrize("group", ENTRIES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_entry_is_implemented(framework, group):
    pytest.importorskip(framework)
    implemented = getattr(importlib.import_module(FRAMEWORKS[framework]), group)
    assert list(implemented) == list(ENTRIES[group])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rules_are_of_their_entry(framework):
    pytest.importorskip(framework)
    rules = importlib.import_module(FRAMEWORKS[framework]).RULES
    assert {name: rule.spec for name, rule in rules.items()} == ENTRIES["RULES"]


@pytest.mark.parametrize("entry", EVERY, ids=lambda e: e.name)
def test_public_functions_agree(entry):
    """torch and JAX: the same arguments in the same order, the same options and defaults. A state
    (batch statistics, a mask) is an argument in both."""
    signatures = public(entry)
    if len(signatures) == 2:
        torch, jax = signatures.values()
        assert torch == jax


@pytest.mark.parametrize("entry", [e for e in bpx.ALL], ids=lambda e: e.name)
def test_public_function_takes_the_entrys_options(entry):
    """Every option by keyword only, with the record's default."""
    for package, (positional, keywords) in public(entry).items():
        assert [name for name, _ in positional] == [a.name for a in entry.args], package
        assert {k: _value(v) for k, v in keywords.items()} == entry.options, package


def _value(text):
    try:
        return ast.literal_eval(text)
    except ValueError:
        return {"math.inf": float("inf"), "-math.inf": -float("inf")}.get(text, text)
