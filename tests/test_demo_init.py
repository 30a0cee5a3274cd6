"""demo --init: agreement with the specification, what the starts do, equal units, the page."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

for name in ("torch", "jax", "matplotlib", "rich", "jinja2"):
    pytest.importorskip(name)

import bpx_jax.propagation
import bpx_torch.propagation
from bpx.__main__ import main
from bpx.demo import propagation, propagation_page
from bpx.demo.propagation import ACTIVATIONS, STARTS

ENGINES = {"torch": bpx_torch.propagation, "jax": bpx_jax.propagation}


@pytest.fixture(scope="module")
def results():
    return propagation.run(ENGINES, 3, lambda said: None)


def by(results, name="torch"):
    return {(p.activation, p.start): p for p in results.passages[name]}


def test_every_limit_holds(results):
    assert [limit for limit in propagation_page.held(results) if not limit[3]] == []
    assert max(results.worst.values()) > 0


def test_frameworks_agree(results):
    for a, b in zip(*results.passages.values(), strict=True):
        np.testing.assert_allclose(a.signal, b.signal, rtol=1e-10)
        np.testing.assert_allclose(a.gradient, b.gradient, rtol=1e-10)
        # examples that differ less than by rounding cannot be told apart
        rounding = propagation.DEPTH * 10 * np.finfo(np.float64).eps
        np.testing.assert_allclose(np.sqrt(a.between), np.sqrt(b.between), atol=rounding)
    for a, b in zip(*results.trainings.values(), strict=True):
        np.testing.assert_allclose(a.weights, b.weights, rtol=1e-9, atol=1e-12)


def test_verdicts_are_those_of_the_theory(results):
    found = {k: p.verdict for k, p in by(results).items()}
    assert len(found) == len(ACTIVATIONS) * len(STARTS)
    for activation in ACTIVATIONS:
        assert found[activation, "zero"] == "is 0"
        assert found[activation, "small normal"] == "vanishes"
    assert {found["sigmoid", s] for s in STARTS} == {"is 0", "vanishes"}
    assert [s for s in STARTS if found["tanh", s] == "arrives"] == ["Xavier", "He", "orthogonal"]
    assert [s for s in STARTS if found["relu", s] == "arrives"] == ["He"]
    assert found["tanh", "large normal"] == found["relu", "large normal"] == "explodes"


@pytest.mark.parametrize(
    ("activation", "start", "factor"),
    [
        ("relu", "He", 1.0),
        ("relu", "Xavier", 0.5),
        ("relu", "orthogonal", 0.5),
        ("relu", "large normal", 0.5 * propagation.WIDTH * 0.25**2),
        ("tanh", "small normal", propagation.WIDTH * 0.01**2),
        ("sigmoid", "small normal", propagation.WIDTH * 0.01**2 / 16),
    ],
)
def test_factors_are_those_of_the_theory(results, activation, start, factor):
    """fan_out Var[w] E[slope^2] a layer: He et al. 2015, equation 14."""
    assert by(results)[activation, start].factor == pytest.approx(factor, rel=0.1)


def test_units_from_zero_stay_equal(results):
    for trainings in results.trainings.values():
        zero, other = trainings
        assert zero.moved > 1
        assert zero.apart == 0
        assert other.apart > 1
        assert other.losses[-1] < 0.2 * zero.losses[-1]


class Wrong:
    """An engine with a mistake in one layer's gradient, too small to be seen in a picture."""

    train = bpx_torch.propagation.train

    @staticmethod
    def pass_through(*arrays):
        z, dz = bpx_torch.propagation.pass_through(*arrays)
        dz = dz.copy()
        dz[7] *= 1 + 1e-9
        return z, dz


def test_a_mistake_is_seen(monkeypatch):
    monkeypatch.setattr(propagation, "ACTIVATIONS", ("tanh",))
    monkeypatch.setattr(propagation, "STARTS", {s: STARTS[s] for s in ("zero", "Xavier")})
    found = propagation.run({"torch": Wrong}, 3, lambda said: None)
    assert found.gap is None
    failed = [limit for limit in propagation_page.held(found) if not limit[3]]
    assert [what for what, *_ in failed] == [
        "torch: distance from the specification, at every layer"
    ]
    apart = replace(found.trainings["torch"][0], weights=found.trainings["torch"][1].weights)
    broken = replace(found, trainings={"torch": [apart, found.trainings["torch"][1]]})
    assert any(
        "two units" in what for what, *_, holds in propagation_page.held(broken) if not holds
    )


def test_page_needs_nothing_else(results):
    html = propagation_page.page(results, {"bpx": "0", "seed": "3"})
    assert "every limit held" in html
    assert html.count("<svg") == 9
    assert not re.search(r'(src|href)="(?!#)', html)
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]", html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for start in STARTS:
        assert html.count(f'<td class="left">{start}</td>') == len(ACTIVATIONS)
    for words in propagation_page.reading(results):
        assert words.split(":")[0] in html
    broken = replace(results, worst={"torch": 2.0, "jax": 0.1})
    assert "1 of 7 limits did not hold" in propagation_page.page(broken, {})


def test_words_say_the_verdicts(results):
    sigmoid, tanh, relu, units = propagation_page.reading(results)
    assert "no start keeps the gradient; it is 0 from zero; it vanishes from small" in sigmoid
    assert "the gradient arrives from Xavier (x " in tanh
    assert "the gradient arrives from He (x " in relu
    assert "explodes from large normal" in relu
    assert "never further apart than 0:" in units


def test_command(results, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(propagation, "run", lambda engines, seed, said: results)
    assert main(["demo", "--init", "--report", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("holds: ") == 7
    assert out.endswith(f"{tmp_path / 'init.html'}\n")
    assert (tmp_path / "init.html").stat().st_size > 10_000
    broken = replace(results, worst={"torch": float("nan"), "jax": 0.1})
    monkeypatch.setattr(propagation, "run", lambda engines, seed, said: broken)
    assert main(["demo", "--init", "--report", str(tmp_path)]) == 1
    assert "DOES NOT HOLD: torch: distance" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--lr", "0.1"], "--lr does not go with --init, which takes --framework, --report and"),
        (["--model", "cnn"], "--model does not go with --init"),
        (["--resume"], "--resume does not go with --init"),
        (["--dtype", "float64"], "--dtype does not go with --init"),
        (["--seed", "-1"], "--seed is -1, expected 0 to 4294967295"),
        (["--report", "/dev/null/x"], "cannot write to /dev/null/x"),
    ],
)
def test_refuses(options, says, tmp_path, capsys):
    assert main(["demo", "--init", "--report", str(tmp_path), *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"bpx demo: {says}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("package", ["matplotlib", "rich", "jinja2"])
def test_missing_package(package, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["demo", "--init", "--report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"bpx demo: {package} is not installed: pip install 'bpx[demo]'\n"
    )
