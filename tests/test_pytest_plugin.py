"""The pytest plugin in a run of its own: ids, failures, options, usage errors, xdist."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

RULES = """
import torch


class Rule(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, w):
        return x * x * w

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return 2 * dy * x * w, (dy * x * x).sum(0)


class Wrong(Rule):
    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        return dy * x * w, (dy * x * x).sum(0)


class Rows(Rule):
    # for ten rows or more where a tile of 16 is not full: no size of the plan is one

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx, dw = 2 * dy * x * w, (dy * x * x).sum(0)
        return dx, dw * (1 + 1e-3 * (9 < x.shape[0] < 16))


class Edge(Rule):
    # where one element is -30 and its neighbour is not

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx, dw = 2 * dy * x * w, (dy * x * x).sum(0)
        return torch.where((x == -30) & (x != x.roll(1, -1)), 0.5 * dx, dx), dw


def plain(x, w):
    return x * x * w
"""
TESTS = """
import pytest
from rules_of_a_package import Edge, Rows, Rule, Wrong, plain
from bpx.verify import Float

ARGS = [Float("N", "D"), Float("D")]


def test_fixture_right(verify_rule):
    report = verify_rule(Rule, ARGS, ref=plain, quick=True)
    print("seed", report.trial.points.seed, "seeds", len(report.outcomes))


def test_fixture_wrong(verify_rule):
    verify_rule(Wrong, ARGS, ref=plain, quick=True)


@pytest.mark.bpx_rule(Rule, ARGS, ref=plain, quick=True)
def test_right(bpx_check):
    bpx_check()


@pytest.mark.bpx_rule(Wrong, ARGS, ref=plain, quick=True)
def test_wrong(bpx_check):
    bpx_check()


@pytest.mark.bpx_rule(Rows, ARGS, ref=plain)
def test_rows(bpx_check):
    bpx_check()


@pytest.mark.bpx_rule(Edge, ARGS, ref=plain)
def test_edge(bpx_check):
    bpx_check()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("suite")
    (where / "rules_of_a_package.py").write_text(RULES)
    (where / "test_rules.py").write_text(TESTS)
    (where / "test_unmarked.py").write_text("def test_unmarked(bpx_check):\n    bpx_check()\n")
    return where


def registered():
    """What the entry points of the installed bpx name."""
    return {e.value for e in importlib.metadata.entry_points(group="pytest11") if e.name == "bpx"}


def pytest_run(folder, *args):
    """A pytest of its own. The plugin is named where no entry point does; twice is an error."""
    named = () if registered() else ("-p", "bpx.pytest_plugin")
    path = os.pathsep.join([str(folder), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "pytest", *named, "-p", "no:cacheprovider",
         "--strict-markers", "-rA", "-q", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip


def test_ids_failures_and_options_over_two_workers(folder):
    chosen = ("--bpx-seed", "7", "--bpx-budget", "0.2", "-k", "right or wrong")
    done = pytest_run(folder, "-n", "2", *chosen, "test_rules.py")
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    passed = [text for text in lines if text.startswith("PASSED")]
    failed = [text for text in lines if text.startswith("FAILED")]
    assert "PASSED test_rules.py::test_right[Rule::layout::dy-transposed]" in passed
    assert "PASSED test_rules.py::test_fixture_right" in passed
    assert not any("[Rule::" in text or "test_fixture_right" in text for text in failed)
    assert any("test_wrong[Wrong::vjp::generic-0]" in text for text in failed)
    assert any("test_fixture_wrong" in text for text in failed)
    # argument 1 is right, and so are the values
    assert "PASSED test_rules.py::test_wrong[Wrong::forward::generic-0]" in passed
    assert "Wrong::vjp::generic-0: gradient of argument 0 is off by" in done.stdout
    assert "gradient of argument 1 is off" not in done.stdout
    assert "reproduce:" in done.stdout
    assert "from rules_of_a_package import" in done.stdout
    seed, seeds = next(text.split()[1::2] for text in lines if text.startswith("seed "))
    assert seed == "7"
    checks = sum(text.startswith("PASSED test_rules.py::test_right[") for text in passed)
    assert int(seeds) > checks + 2  # the budget went into more seeds


def test_what_only_a_drawn_size_or_value_shows_is_red_and_shrunk(folder):
    pytest.importorskip("hypothesis")
    done = pytest_run(folder, "test_rules.py", "-k", "(rows or edge) and not width")
    failed = [text for text in done.stdout.splitlines() if text.startswith("FAILED")]
    assert len(failed) == 2, done.stdout + done.stderr
    assert failed[0].startswith("FAILED test_rules.py::test_rows[Rows::drawn::hypothesis]")
    assert failed[1].startswith("FAILED test_rules.py::test_edge[Edge::drawn::hypothesis]")
    assert " 2 failed, " in " " + done.stdout.splitlines()[-1]
    assert "-30.0" in done.stdout.split("reproduce:")[-1]


def test_one_check_is_chosen_by_its_id(folder):
    done = pytest_run(folder, "test_rules.py::test_wrong[Wrong::vjp::generic-0]")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout


def test_a_check_without_a_rule_is_a_usage_error(folder):
    done = pytest_run(folder, "test_unmarked.py")
    assert done.returncode != 0
    text = done.stdout + done.stderr
    assert "test_unmarked: bpx_check needs @pytest.mark.bpx_rule(rule, args, ...)" in text
    assert "INTERNALERROR" not in text


def test_an_installed_bpx_brings_the_plugin():
    named = registered()
    if not named:
        pytest.skip("bpx was installed without its entry points")
    assert named == {"bpx.pytest_plugin"}
