"""verify_rule on right and wrong rules: levels, families, waivers, guards, reports."""

import json
import math

import pytest

import bpx
from bpx.verify import (
    Float,
    verify_rule,
)
from bpx.verify.candidate import api, show
from bpx.verify.candidate.plan import Check, run
from bpx.verify.candidate.reproduce import script
from bpx.verify.finding import Finding

torch = pytest.importorskip("torch")

from tests.candidate_rules import PAIR, plain, right, rule, wrong


def spec_forward(x, w):
    return x * x * w


def spec_backward(dy, x, w):
    return 2 * dy * x * w, (dy * x * x).sum(0)


LEVELS = {"A": {"spec": (spec_forward, spec_backward)}, "B": {"ref": plain}, "C": {}}


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_passes_a_right_rule_and_names_a_wrong_one(level):
    how = {**LEVELS[level], "quick": True, "framework": "torch"}
    report = verify_rule(rule(right), PAIR, **how)
    assert report.check().level.startswith(level)
    assert report.compared > 50
    caught = verify_rule(rule(wrong), PAIR, **how).failures
    assert {f.what for f in caught if f.leg == "vjp"} == {"gradient of argument 0"}


def test_every_check_of_a_right_rule():
    report = verify_rule(rule(right), PAIR, ref=plain, full=True).check()
    families = {row["family"] for row in report.families()}
    assert {"layout", "shape", "purity", "subset", "twice", "transform", "memory"} <= families
    assert any("compile" in o.check.name for o in report.outcomes)
    text = show.page(report)
    assert "no failure" in text
    assert "data:image/png;base64," in text
    assert json.dumps(report.json())


def test_an_entry_of_bpx_is_a_specification():
    spec = {s.name: s for s in bpx.ALL}["softplus"]
    verify_rule(torch.nn.functional.softplus, [Float("*N")], spec=spec, framework="torch",
                dtypes=("float32",), kinks="free", options={}, quick=True).check()  # fmt: skip


def test_waivers_are_listed_and_needed_or_not():
    waivers = {"vjp": "known", "cotangent": "known too", "layout": "not needed"}
    report = verify_rule(rule(wrong), PAIR, ref=plain, quick=True, waivers=waivers)
    assert not report.failures
    assert [hit for _, _, hit in report.waived()] == [True, True, False]


def test_a_rule_that_differs_on_purpose_is_told_what_to_declare():
    def reverse(dy, x, w):
        return -dy * w * 2 * x, -(dy * x * x).sum(0)

    report = verify_rule(rule(reverse), PAIR, ref=plain, quick=True)
    assert "declare surrogate=" in report.hint
    verify_rule(rule(reverse), PAIR, ref=plain, surrogate=reverse, quick=True).check()
    refused = verify_rule(rule(right), PAIR, ref=plain, surrogate=right, only="calculus")
    assert "equals the derivative" in refused.failures[0].message


def test_the_reproducer_is_short_and_fails_by_itself(tmp_path):
    source = (
        "import torch\n"
        "class Rule(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, x):\n"
        "        ctx.save_for_backward(x)\n"
        "        return x ** 3\n"
        "    @staticmethod\n"
        "    def backward(ctx, dy):\n"
        "        return dy * 2 * ctx.saved_tensors[0] ** 2\n"
    )
    (tmp_path / "planted_rule.py").write_text(source)
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        from planted_rule import Rule

        report = verify_rule(Rule, [Float("N", "D")], ref=lambda x: x * x * x, quick=True)
        text = script(report.trial, report.failures[0])
        assert len(text.splitlines()) <= 15
        assert "bpx" not in text
        with pytest.raises(AssertionError, match="expected"):
            exec(compile(text, "reproducer", "exec"), {})
        exec(compile(text.replace("assert abs", "abs"), "reproducer", "exec"), {})
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("planted_rule", None)


def test_a_rule_that_prints_hangs_or_crashes_is_reported_and_the_run_goes_on():
    def printing(dy, x, w):
        print("here")
        return right(dy, x, w)

    def crashing(dy, x, w):
        raise ZeroDivisionError("no")

    noisy = verify_rule(rule(printing), PAIR, ref=plain, quick=True).failures
    assert next(f.message for f in noisy).startswith("prints 'here")
    crashed = verify_rule(rule(crashing), PAIR, ref=plain, quick=True)
    assert all("ZeroDivisionError" in f.message for f in crashed.failures if f.leg == "vjp")
    assert any(o.check.family == "return" for o in crashed.outcomes)

    def endless():
        while True:
            yield from ()

    found = run(Check("vjp", "x", endless), lambda **k: Finding("r", "torch", "yours", **k), 0.2)
    assert found.findings[0].message == "did not end within 0.2 s"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, w: (x * x * w).to("meta"), "meta"),
        (lambda x, w: {"y": x}, "returns dict, expected tensors"),
        (lambda x, w: x * x * w * math.nan, "nan"),
        (lambda x, w: (x * x * w, x), "outputs: 2 of them, expected 1"),
    ],
)
def test_a_wrong_kind_of_output_is_named(change, message):
    report = verify_rule(change, PAIR, ref=plain, quick=True, framework="torch")
    assert any(message in str(f).lower() for f in report.failures)


def test_the_kit_is_not_blind_to_itself():
    same = verify_rule(plain, PAIR, ref=rule(right).apply, quick=True, framework="torch")
    assert [o for o in same.outcomes if o.check.family == "kit" and not o.findings[0].skipped]
    trial = api.prepare(plain, PAIR, ref=rule(right).apply, framework="torch")
    trial.host = _Blind(trial.host)
    blind = api.judge(trial, [c for c in api.plan(trial, quick=True) if c.name == "broken twin"])
    assert any("the kit is blind here" in f.message for f in blind.failures)


class _Blind:
    def __init__(self, host):
        self._host = host

    def __getattr__(self, name):
        return getattr(self._host, name)

    def scaled(self, f, factor):
        return f


def test_a_second_derivative_is_looked_at_though_another_is_refused():
    """Loud where the incoming gradient asks for one, and silent where it does not."""

    def silent(dy, x, w):
        if dy.requires_grad:
            raise RuntimeError("no second derivative")
        return right(dy, x.detach(), w.detach())

    report = verify_rule(rule(silent), PAIR, ref=plain, only="twice", vmap=False)
    assert report.caught_by() == ["twice"]


def test_a_crash_at_one_size_is_seen_without_a_reference():
    def crashing(x, w):
        if x.shape[0] == 7:
            raise IndexError("seven rows")
        return x * x * w

    report = verify_rule(rule(right, crashing), PAIR, only="shape::N=7")
    assert "IndexError: seven rows" in report.failures[0].message
