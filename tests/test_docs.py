"""Pages are regenerated and compared, examples are run, links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bpx import docs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PROSE = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in docs.PROSE)]
DOCTESTED = {
    package: [
        ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in sorted((ROOT / package).rglob("*.py"))
        if re.search(r"^\s*>>> ", p.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    for package in ("bpx", "bpx_torch", "bpx_jax")
}
# what a reader has typed before the examples of a docstring
PRELUDE = {
    "bpx": "import numpy as np",
    "bpx_torch": "import torch",
    "bpx_jax": "import jax, jax.numpy as jnp",
}
RUN = """
import doctest, importlib
{prelude}
failed = 0
for name in {modules}:
    module = importlib.import_module(name)
    globs = {{**globals(), **vars(module)}}
    failed += doctest.testmod(module, globs=globs, optionflags=doctest.ELLIPSIS).failed
raise SystemExit(failed)
"""


def in_a_new_interpreter(code):
    """Run code as a reader would: without the settings of the tests."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pages_are_up_to_date():
    stale = [n for n, text in docs.pages().items() if not docs._equal(ROOT / "docs" / n, text)]
    assert not stale, "run python -m bpx docs"


def test_readme_has_examples():
    assert len(BLOCKS) >= 3


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: b.splitlines()[0].strip("# "))
def test_readme_example_runs(block):
    for framework in ("torch", "jax", "optax"):
        if re.search(rf"^(import|from) (bpx_)?{framework}\b", block, re.MULTILINE):
            pytest.importorskip(framework)
    in_a_new_interpreter(block)


@pytest.mark.parametrize("package", DOCTESTED)
def test_docstring_examples(package):
    assert DOCTESTED[package], "no docstring has an example"
    pytest.importorskip(package.removeprefix("bpx_") if package != "bpx" else "numpy")
    in_a_new_interpreter(RUN.format(prelude=PRELUDE[package], modules=DOCTESTED[package]))


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    # In code `f(x)[1](1.0)` is a call, not a link.
    code = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
    words = code.sub("code", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#\s]+)", words):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PROSE, ids=lambda p: p.name)
def test_named_files_exist(path):
    """A path in prose leads to a file; what the reader of the example writes is not there yet."""
    for name in re.findall(
        r"`((?:bpx|bpx_torch|bpx_jax|tests|docs)/[\w/.-]+)`", path.read_text("utf-8")
    ):
        assert (ROOT / name).exists() or "hardshrink" in name, f"{path.name} names {name}"
