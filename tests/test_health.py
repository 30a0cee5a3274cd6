"""Health without a framework: statistics, and each verdict and its neighbour."""

import math

import numpy as np
import pytest

from bpx.health import History, Moments, Report, Sample, measure, merge, remedies
from bpx.health.nonfinite import NonFinite
from bpx.spec import SpecError
from tests.health_samples import BAD, NAN, VERDICTS, good, layer, of, weight


def test_merge_is_the_moments_of_all():
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal(n) * s + m for n, s, m in ((5, 2, 30), (1, 1, -4), (70, 0.1, 2))]
    got, want = merge(map(measure.moments, parts)), measure.moments(np.concatenate(parts))
    assert got.count == want.count == 76
    np.testing.assert_allclose((got.mean, got.variance), (want.mean, want.variance), rtol=1e-13)
    assert merge([]) is None
    assert merge([measure.moments([]), measure.moments([3.0, 5.0])]) == Moments(2, 4.0, 1.0)


def test_moments():
    found = measure.moments([[1.0, np.inf], [np.nan, 0.0]])
    assert (found.count, found.nonfinite, found.finite) == (4, 2, False)
    assert math.isnan(found.mean)
    assert math.isnan(found.variance)
    assert measure.moments([3.0, 4.0]).norm == pytest.approx(5)
    assert measure.moments([3.0, 4.0]).rms == pytest.approx(5 / math.sqrt(2))


def test_shares():
    x = np.array([[0.0, 1, 0], [0, 0, 0], [0, 2, 3]])
    assert measure.dead(x) == pytest.approx(1 / 3)
    assert measure.dead(x, 0) == pytest.approx(1 / 3)
    assert measure.dead(x[:1]) is None
    assert measure.dead(np.float64(0)) is None
    t = np.array([-1, -0.991, -0.989, 0, 0.5, 0.99])
    assert measure.saturated(t, "tanh") == 0.5
    assert measure.saturated((t + 1) / 2, "sigmoid") == 0.5
    assert measure.saturated([[0.001, 0.999], [0.5, 0.5]], "softmax") == 0.5
    assert measure.saturated(t, "relu") is None


def test_twins():
    rng = np.random.default_rng(1)
    w, g = rng.standard_normal((2, 6, 4))
    assert measure.twins(w, g) == 0
    w[[0, 2, 5]], g[[0, 2, 5]] = w[1], g[1]
    assert measure.twins(w, g) == pytest.approx(4 / 6)
    assert measure.twins(w.T, g.T) == pytest.approx(4 / 6)
    g[0] += 1  # equal weights alone do not stay equal
    assert measure.twins(w, g) == pytest.approx(3 / 6)
    assert measure.twins(np.zeros((3, 2)), np.zeros((3, 2))) == 1
    assert measure.twins(w[0], g[0]) is None
    assert measure.twins(w[:1, :1], g[:1, :1]) is None


@pytest.mark.parametrize("fault", VERDICTS)
def test_verdict(fault):
    report = Report(VERDICTS[fault])
    assert report.diagnosis == fault, report.words
    assert report.words.startswith(f"{fault}")
    if fault != "healthy":
        assert [f.fault for f in report.findings] == [fault]
        assert remedies.MEANING[fault] in report.words
        assert report.findings[0].remedy in report.words


@pytest.mark.parametrize(
    "samples",
    [
        [good(aw=weight("a", twins=0.85))],
        [good(b=layer("b", kind="relu", dead=0.75, examples=64))],
        [good(b=layer("b", kind="relu", dead=1.0, examples=7))],
        [good(b=layer("b", kind="linear", dead=1.0, examples=64))],
        [good(b=layer("b", kind="tanh", saturated=0.45))],
        [good(c=layer("c", rms=900.0))],
        [good(c=layer("c", rms=1100.0, kind="softmax"))],
        [good(a=layer("a", grad=1.1e-4))],
        [good(aw=weight("a", ratio=0.4))],  # one of three is not the median
        [good(), good(5, **{f"{n}w": weight(n, ratio=9e-7) for n in "ab"})],  # once low
        [good(a=layer("a", grad=0.0)), good(5)],  # a head that starts at zero
        [good(aw=weight("a", twins=1.0)), good(5)],
        [good(aw=weight("a", norm=0.0, ratio=None, update=1.0))],
        [good(aw=weight("a", shape=(100,), grad=1e9))],
    ],
)
def test_next_to_a_fault(samples):
    assert Report(samples).diagnosis == "healthy", Report(samples).words


def test_gradients_that_grow_backwards_and_against_their_weights():
    back = Report([good(a=layer("a", grad=110.0))])
    assert back.diagnosis == "exploding"
    assert "from layer c back to layer a the norm of the gradient grows 1100 times" in back.words
    alone = Report([Sample(0, (), (weight("a"), weight("b", grad=1100.0)))])
    assert alone.diagnosis == "exploding"
    assert alone.findings[0].layer == "b"
    alone = Report([Sample(0, (), (weight("a", grad=9e-5), weight("b")))])
    assert alone.diagnosis == "vanishing"


def test_the_cause_comes_first():
    """A rate too high kills units some steps later; dead units make the gradient vanish."""
    high = {f"{n}w": weight(n, ratio=0.9) for n in "abc"}
    dead = layer("b", kind="relu", dead=1.0, examples=64)
    report = Report([good(0, **high), good(5, b=dead, a=layer("a", grad=0.0))])
    assert [f.fault for f in report.findings] == ["learning rate too high", "dead", "vanishing"]
    assert [f.step for f in report.findings] == [0, 5, 5]
    grown = good(0, b=layer("b", rms=1e9), c=layer("c", bad=BAD))
    assert [f.fault for f in Report([grown]).findings] == ["exploding", "non-finite"]


@pytest.mark.parametrize(
    ("changes", "want", "says"),
    [
        ({"aw": weight("a", weight=of(1, bad=BAD))}, ("parameter", "a.weight", ""), "since then"),
        ({"b": layer("b", bad=BAD)}, ("forward", "b", "a"), "the output of layer b is the first"),
        ({"b": layer("b", badgrad=BAD)}, ("backward", "c", "b"), "layer c gives back to layer b"),
        ({"c": layer("c", badgrad=BAD)}, ("backward", "loss", "c"), "the loss gives back"),
        ({"bw": weight("b", gradient=of(1, bad=BAD))}, ("gradient", "b.weight", ""), "gradient of"),
        ({"bw": weight("b", update=NAN)}, ("update", "b.weight", ""), "the update of b.weight"),
        ({"bw": weight("b", update=math.inf)}, ("update", "b.weight", ""), "the update of b"),
    ],
)  # fmt: skip
def test_first_value_that_is_not_finite(changes, want, says):
    report = Report([good(), good(7, **changes), good(9, a=layer("a", bad=BAD))])
    assert report.nonfinite == NonFinite(7, *want)
    assert report.diagnosis == "non-finite"
    assert says in report.words
    assert "Step 7" in report.words


def test_first_sample_not_finite():
    words = Report([good(3, aw=weight("a", weight=of(1, bad=BAD)))]).words
    assert "a.weight is not finite at the beginning of the first sample" in words


def test_history_keeps_the_first_and_the_latest():
    history = History(keep=3)
    for step in range(6):
        history.append(good(step))
    assert [s.step for s in history.samples] == [0, 4, 5]
    assert history.report().diagnosis == "healthy"
    with pytest.raises(SpecError, match=r"^health: step is 5, expected more than 5, the step bef"):
        history.append(good(5))


def test_evidence_of_growth_names_both_ends():
    (found,) = Report([good(c=layer("c", rms=1100.0))]).findings
    assert found.layer == "c"
    assert found.evidence.startswith("from layer a to layer c the activations grow 1100 times")
