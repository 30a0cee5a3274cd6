"""Who may import whom, read from the syntax trees, and what an import loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TREES = ("bpx", "bpx_torch", "bpx_jax")
ENTRIES = ("activations", "layers", "losses", "fused", "surrogate", "initializers", "optimizers")
ENTRIES += ("schedules", "transforms")
FRAMEWORKS = {"torch", "jax", "jaxlib", "triton", "optax", "flax", "bpx_torch", "bpx_jax"}
FILES = [p.relative_to(ROOT) for tree in TREES for p in sorted((ROOT / tree).rglob("*.py"))]

# the commands that run frameworks; they are imported when they are asked for
RUNS_FRAMEWORKS = ("bpx/demo/", "bpx/bench.py", "bpx/show.py", "bpx/verify/")
RUNS_FRAMEWORKS += ("bpx/vectors/",)
# what an entry of the specification may use
SPEC_MAY = {
    "bpx.spec",
    "bpx.bench_rows",
    "bpx.limits",
    "bpx.training",
    "bpx.dims",
    "bpx.elementwise",
    "bpx.special",
    "bpx.random",
}

COMPUTES = {"forward", "backward", "init", "step", "from_noise", "value"}
AUTODIFF = {
    "grad",
    "vjp",
    "jvp",
    "jacrev",
    "jacfwd",
    "value_and_grad",
    "linearize",
    "linear_transpose",
}


def ids(paths):
    return pytest.mark.parametrize("path", paths, ids=str)


def inside(path, *folders):
    return path.as_posix().startswith(tuple(folders))


def is_entry(path, tree):
    """A file of an entry, not a private module beside it nor a list of them."""
    return inside(path, *(f"{tree}/{e}/" for e in ENTRIES)) and not path.name.startswith("_")


def tree_of(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path, top_only=False):
    """Every module imported, and every name imported from one, dotted."""
    tree = tree_of(path)
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides where it leads"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def package(name):
    return name.split(".")[0]


def within(name, modules):
    return any(name == m or name.startswith(f"{m}.") for m in modules)


def test_trees_are_found():
    assert len(FILES) > 30
    assert any(is_entry(p, "bpx") for p in FILES)


@ids([p for p in FILES if inside(p, "bpx/")])
def test_bpx_needs_numpy_alone(path):
    # a command may import its framework in a function, the specification may not at all
    names = imports(path, top_only=inside(path, *RUNS_FRAMEWORKS))
    allowed = {"bpx", "numpy", "__future__", *sys.stdlib_module_names}
    if inside(path, "bpx/demo/"):
        return
    if path == Path("bpx/pytest_plugin.py"):
        allowed.add("pytest")  # pytest alone imports it
    assert {package(n) for n in names} <= allowed


@ids([Path("bpx") / n for n in ("spec.py", "dims.py", "rule.py")])
def test_call_path_touches_no_numbers(path):
    assert "numpy" not in {package(n) for n in imports(path)}


@ids([p for p in FILES if is_entry(p, "bpx")])
def test_spec_entry_imports_no_other(path):
    own = ".".join(path.parent.parts)
    for name in imports(path):
        if package(name) == "bpx":
            private = within(name, [own]) and name.removeprefix(f"{own}.").startswith("_")
            part_of_fused = path.parent.name in ("fused", "surrogate")
            assert within(name, SPEC_MAY) or private or part_of_fused, f"{path} imports {name}"


@ids([p for p in FILES if inside(p, "bpx/verify/")])
def test_kit_knows_no_entry(path):
    assert not [n for n in imports(path) if within(n, {f"bpx.{e}" for e in ENTRIES})]


@ids([p for p in FILES if inside(p, "bpx_torch/", "bpx_jax/")])
def test_frameworks_do_not_meet(path):
    other = (
        {"jax", "jaxlib", "bpx_jax"}
        if inside(path, "bpx_torch/")
        else {"torch", "triton", "bpx_torch"}
    )
    assert not {package(n) for n in imports(path)} & other


@ids([p for p in FILES if is_entry(p, "bpx_torch") or is_entry(p, "bpx_jax")])
def test_rule_reads_the_spec_record_only(path):
    """A rule is a derivation of its own: it takes the record, and runs neither half of it."""
    own = f"bpx.{path.parent.name}.{path.stem}"
    shared = {"bpx.rule", "bpx.spec", "bpx.dims", "bpx.random", "bpx.special", "bpx.profiles"}
    for name in imports(path):
        last = name.rsplit(".", 1)
        if package(name) == "bpx" and path.parent.name not in ("initializers", "fused"):
            assert within(name, {own, *shared}), f"{path} imports {name}"
            assert name == own or last[1] not in COMPUTES, f"{path} imports {name}"
        if package(name) in ("bpx_torch", "bpx_jax") and last[1].startswith("_"):
            entries = {f"{package(name)}.{e}" for e in ENTRIES}
            module = last[0]
            beside = within(module, entries) and module not in entries
            assert not beside, f"{path} imports the private {name}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute) and node.attr in COMPUTES - {"from_noise"}:
            base = dotted(node.value)
            assert base.rsplit(".", 1)[-1] != "SPEC", f"{path}:{node.lineno} runs the spec"
            assert not base.startswith("spec."), f"{path}:{node.lineno} runs the spec"


@ids([p for p in FILES if inside(p, "bpx_torch/kernels/", "bpx_jax/kernels/")])
def test_kernel_imports_no_rule(path):
    entries = {f"{tree}.{e}" for tree in TREES for e in ENTRIES}
    assert not [n for n in imports(path) if within(n, entries)]


@ids(
    [p for p in FILES if is_entry(p, "bpx_torch") or is_entry(p, "bpx_jax") or "kernels" in p.parts]
)
def test_gradients_are_by_hand(path):
    for node in ast.walk(tree_of(path)):
        name = dotted(node) if isinstance(node, ast.Attribute) else ""
        if package(name) in ("torch", "jax"):
            last = name.rsplit(".", 1)[-1]
            assert last not in AUTODIFF, f"{path}:{node.lineno} differentiates by {name}"
            assert not last.endswith("_backward"), f"{path}:{node.lineno} calls {name}"


@ids([*FILES, *(p.relative_to(ROOT) for p in sorted((ROOT / "tests").rglob("*.py")))])
def test_file_has_one_purpose(path):
    assert path.name not in ("utils.py", "common.py", "base.py", "helpers.py", "misc.py")
    assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) < 250


@ids(FILES)
def test_nothing_imports_the_tests(path):
    assert "tests" not in {package(n) for n in imports(path)}


def loaded_by(statement, before="pass"):
    """The packages that a statement loads in a fresh interpreter."""
    code = (
        f"import sys\n{before}\nbefore = set(sys.modules)\n{statement}\n"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    run = [sys.executable, "-c", code]
    out = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(out.split())


def test_import_bpx_is_light():
    packages = loaded_by("import bpx", before="import numpy")
    assert packages <= {"bpx", "numpy", *sys.stdlib_module_names}


def test_import_bpx_torch_loads_no_other_framework():
    pytest.importorskip("torch")
    packages = loaded_by("import bpx_torch", before="import torch, torch._dynamo")
    assert "bpx_torch" in packages
    assert not packages & {"jax", "bpx_jax", "triton", "optax"}


def test_import_bpx_jax_loads_no_other_framework():
    pytest.importorskip("jax")
    packages = loaded_by("import bpx_jax", before="import jax")
    assert "bpx_jax" in packages
    assert not packages & {"torch", "bpx_torch", "triton"}
