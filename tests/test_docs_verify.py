"""The pages "Verify your own rule" are run from top to bottom, and print what they say."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# named where no entry point does; twice is an error
REGISTERED = any(e.name == "bpx" for e in importlib.metadata.entry_points(group="pytest11"))
PLUGIN = [] if REGISTERED else ["-p", "bpx.pytest_plugin"]


@pytest.mark.parametrize(
    ("page", "framework"), [("verify-pytorch", "torch"), ("verify-jax", "jax")]
)
def test_page_runs_and_prints_what_it_says(page, framework, tmp_path):
    pytest.importorskip(framework)
    blocks = BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    programs, expected = "", ""
    for kind, text in blocks:
        first = text.splitlines()[0].removeprefix("# ")
        if kind == "text":
            expected += text
        elif first.endswith(".py"):
            (tmp_path / first).write_text(text)
        else:
            programs += text
    assert expected, "no output is shown"
    done = run(programs, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
    if (tmp_path / "test_rms.py").exists():
        done = run(
            f"import sys, pytest; sys.exit(pytest.main(['-q', *{PLUGIN}, "
            "'test_rms.py::test_rms_norm[RMSNorm::vjp::generic-0]', "
            "'test_rms.py::test_rms_norm[RMSNorm::forward::generic-0]']))",
            tmp_path,
        )
        assert "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


def run(code, folder):
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n{code}"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
