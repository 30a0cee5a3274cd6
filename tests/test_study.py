"""The feedback-alignment study: a tiny run, what it writes and refuses, and the page in docs."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

for name in ("torch", "jax", "sklearn", "matplotlib", "rich"):
    pytest.importorskip(name)

from bpx import docs, random
from bpx.__main__ import main
from bpx.demo import feedback, study_page

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(feedback, "SIZES", (64, 12, 8, 10))
    monkeypatch.setattr(feedback, "BATCH", 128)


def studied(tmp_path, capsys, *options):
    assert main(["study", "--epochs", "2", "--out", str(tmp_path), *options]) == 0
    results = json.loads((tmp_path / study_page.RESULTS).read_text(encoding="utf-8"))
    return results, capsys.readouterr().out


def test_a_tiny_run(tmp_path, capsys):
    results, out = studied(tmp_path, capsys)
    assert set(results["accuracy"]) == set(feedback.RULES)
    for rule in feedback.RULES:
        assert len(results["accuracy"][rule]) == 3
        assert np.shape(results["angles"][rule]) == (3, 3)
        assert f"{results['accuracy'][rule][-1]:.1%}" in out
    exact, *others = (np.array(results["angles"][rule]) for rule in feedback.RULES)
    assert not exact.round(1).any()
    for angles in others:
        assert (angles[:, :-1] > 10).all(), "a hidden layer has the exact gradient"
        assert not angles[:, -1].round(1).any(), "the output layer has not"
    page = (tmp_path / study_page.PAGE).read_text(encoding="utf-8")
    assert page == study_page.page(results)
    picture = (tmp_path / study_page.PICTURE).read_text(encoding="utf-8")
    assert study_page.digest(results) in picture


def test_the_frameworks_agree(tmp_path, capsys):
    ours, _ = studied(tmp_path, capsys)
    theirs, _ = studied(tmp_path, capsys, "--framework", "jax")
    for rule in feedback.RULES:
        np.testing.assert_allclose(ours["angles"][rule], theirs["angles"][rule], atol=0.2)
        np.testing.assert_allclose(ours["accuracy"][rule], theirs["accuracy"][rule], atol=0.01)


@pytest.mark.parametrize("framework", ["torch", "jax"])
@pytest.mark.parametrize("rule", feedback.RULES)
def test_gradients_are_those_of_the_papers(framework, rule):
    """Written out in NumPy, as the papers have them."""
    module = importlib.import_module(f"bpx_{framework}.study")
    rng = np.random.default_rng(5)
    layers, fixed = feedback.initial(random.key(1)), feedback.matrices(rule, random.key(2))
    x = rng.standard_normal((7, 64)).astype(np.float32)
    labels = rng.integers(0, 10, 7).astype(np.int32)

    inputs = [x]
    for w, b in layers[:-1]:
        inputs.append(np.tanh(inputs[-1] @ w.T + b))
    logits = inputs[-1] @ layers[-1][0].T + layers[-1][1]
    p = np.exp(logits - logits.max(-1, keepdims=True))
    error = (p / p.sum(-1, keepdims=True) - np.eye(10)[labels]) / 7
    want, delta = [], error
    for i in reversed(range(len(layers))):
        want.insert(0, (delta.T @ inputs[i], delta.sum(0)))
        if not i:
            break
        back = {
            "exact": lambda i=i, d=delta: d @ layers[i][0],
            "feedback": lambda i=i, d=delta: d @ fixed[i - 1],
            "direct": lambda i=i: error @ fixed[i - 1],
        }[rule]()
        delta = back * (1 - inputs[i] ** 2)
    got = module.gradients(rule, layers, fixed, x, labels)
    for ours, theirs in zip(got, want, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_angle():
    a = np.array([[1.0, 0.0]])
    assert feedback.angle(a, 3 * a) == 0
    assert feedback.angle(a, np.array([[0.0, 2.0]])) == 90
    assert feedback.angle(a, -a) == 180
    assert feedback.angle(a, 0 * a) == 90


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--epochs", "0"], "--epochs is 0, expected at least 1"),
        (["--epochs", "some"], "--epochs is 'some', expected a whole number, at least 1"),
        (["--seed", "-1"], "--seed is -1, expected 0 to 4294967295"),
        (["--seed", str(2**32)], "--seed is 4294967296, expected 0 to 4294967295"),
        (["--out", "/dev/null/x"], "cannot write to /dev/null/x: Not a directory"),
    ],
)
def test_refuses(options, says, capsys):
    assert main(["study", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"bpx: {says}\n")


@pytest.mark.parametrize("package", ["sklearn", "matplotlib", "rich"])
def test_missing_package(package, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["study"]) == 2
    assert capsys.readouterr().err == f"bpx: {package} is not installed: pip install 'bpx[demo]'\n"


def test_the_page_in_docs_has_the_stored_numbers(monkeypatch):
    """Page and picture are of the numbers beside them; nothing is trained to find out."""
    monkeypatch.undo()
    stored = (DOCS / study_page.RESULTS).read_text(encoding="utf-8")
    results = json.loads(stored)
    assert docs.pages()[study_page.PAGE] == (DOCS / study_page.PAGE).read_text(encoding="utf-8")
    assert study_page.digest(results) in (DOCS / study_page.PICTURE).read_text(encoding="utf-8")
    results["accuracy"]["exact"][-1] += 0.1
    assert study_page.page(results) != docs.pages()[study_page.PAGE]
    assert study_page.digest(results) != study_page.digest(json.loads(stored))
