"""Points drawn by Hypothesis: a bug at one value is found and shrunk, by one seed the same one."""

import pytest

from bpx.verify import Float
from bpx.verify.candidate import api, drawn
from bpx.verify.candidate.plan import Check
from bpx.verify.candidate.reproduce import script

torch = pytest.importorskip("torch")
pytest.importorskip("hypothesis")

from tests.candidate_rules import PAIR, plain, right, rule


def at_thirty(dy, x, w):
    """Wrong where an element is 30, in three rows or more: no other point has that."""
    dx, dw = right(dy, x, w)
    return (2 * dx if bool((x == 30).any()) and x.shape[0] > 2 else dx), dw


def judged(backward, seed=0, examples=200):
    trial = api.prepare(rule(backward), PAIR, ref=plain, framework="torch", seed=seed)
    check = Check("drawn", "hypothesis", lambda: drawn.run(trial, examples))
    return api.judge(trial, [check])


def test_a_bug_at_drawn_values_is_found_shrunk_and_the_same_for_one_seed():
    found = [judged(at_thirty, seed=3) for _ in range(2)]
    assert found[0].caught_by() == ["drawn"]
    points = [r.trial.drawn for r in found]
    assert points[0].arrays[0].shape == (3, 1)
    assert int((points[0].arrays[0] == 30).sum()) == 1
    assert all((a == b).all() for a, b in zip(points[0].arrays, points[1].arrays, strict=True))
    text = script(found[0].trial, found[0].failures[0])
    assert "30.0" in text
    assert len(text.splitlines()) <= 15


def test_a_right_rule_passes_and_counts():
    report = judged(right, examples=20)
    assert not report.failures
    assert int(report.findings[0].what.split()[0]) >= 40


def test_domains_sizes_and_options_hold_in_every_drawn_point(monkeypatch):
    seen = []

    def compared(point, **_):
        seen.append(point)
        return iter(())

    trial = api.prepare(
        plain, [Float("*N", "D", low=-2.0, high=2.0, at=(0.5,))], ref=lambda x, o: x * x,
        options={"o": [1, 2]}, sizes={"D": (2, 4)}, framework="torch",
    )  # fmt: skip
    trial.compared = compared
    list(drawn.run(trial, 60))
    assert {p.arrays[0].shape[-1] for p in seen} == {2, 4}
    assert {p.options["o"] for p in seen} == {1, 2}
    assert {p.arrays[0].ndim for p in seen} == {1, 2, 3, 4}
    assert all(abs(p.arrays[0]).max() <= 2.0 for p in seen)
    assert any((p.arrays[0] == 0.5).any() for p in seen)


def test_without_hypothesis_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(drawn, "installed", lambda: False)
    report = judged(at_thirty)
    assert report.skips() == {"hypothesis is not installed": 1}
