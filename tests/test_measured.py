"""The measured pages of docs/ say what is measured here."""

from pathlib import Path

import pytest

from bpx import _measured, docs
from bpx.verify.features import features, unfounded
from bpx.verify.finding import Finding

ROOT = Path(__file__).resolve().parent.parent


def written(page, framework):
    """Rows of a framework's table, as they stand in the page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    _, _, after = text.partition(f"## {_measured.FRAMEWORKS[framework]}\n")
    lines = after.partition("\n## ")[0].splitlines()
    return [line for line in lines if line.startswith("| [")]


@pytest.mark.parametrize("framework", _measured.FRAMEWORKS)
def test_features(framework):
    pytest.importorskip(framework)
    _, _, *rows = docs._markdown(_measured.feature_table(framework))
    assert rows == written("features.md", framework), "run python -m bpx docs"


@pytest.mark.parametrize("framework", _measured.FRAMEWORKS)
def test_memory(framework):
    pytest.importorskip(framework)
    wanted = written("memory.md", framework)
    names = [line.split("[")[1].split("]")[0] for line in wanted]
    assert names == list(_measured._runner(framework).rules), "run python -m bpx docs"
    _, _, *rows = docs._markdown(_measured.memory_table(framework))
    assert rows
    # what autodiff and the framework's own keep is the version's; the rule's is bpx's
    stand = {line.split("|")[1]: line.split("|")[2:4] for line in wanted}
    assert all(stand[row.split("|")[1]] == row.split("|")[2:4] for row in rows)


def test_a_check_that_was_not_run_founds_nothing():
    pytest.importorskip("torch")
    runner = _measured._runner("torch")
    rule = runner.rules["layer_norm"]
    checks = ("vmap", "hand-written ran", "second derivative", "forward mode", "hessian")
    found = [Finding(rule.spec.name, "torch", "plain", "structure", "2d", c) for c in checks]
    assert unfounded(rule, runner, found) == []
    found[0] = Finding(rule.spec.name, "torch", "plain", "structure", "2d", "vmap", skipped="why")
    assert unfounded(rule, runner, found) == ["vmap"]
    assert features(rule, runner)["forward mode"] == "yes"
