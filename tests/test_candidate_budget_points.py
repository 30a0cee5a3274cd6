"""What a point costs, told by its first evaluation or by a smaller one, on a clock that only the
reference moves."""

import math

import numpy as np
import pytest

from bpx.verify import Float, Index, verify_rule
from bpx.verify.candidate import api, budget, tried
from bpx.verify.candidate.plan import NotRun

torch = pytest.importorskip("torch")

from tests.candidate_rules import PAIR, plain, right, rule, wrong


class Steps(budget.Purse):
    """A second for every evaluation of the reference, five from some second on, and nothing for all
    else."""

    at = 0.0
    slower = math.inf

    @property
    def spent(self) -> float:
        return self.at

    def evaluated(self):
        self.at += 1.0 if self.at < self.slower else 5.0


def counted(most=math.inf, f=right, slower=math.inf):
    """A trial whose specification is on the clock of its purse, and that purse."""
    clock = Steps(most)
    clock.slower = slower

    def forward(x, w):
        clock.evaluated()
        return x * x * w

    def backward(dy, x, w):
        clock.evaluated()
        return 2 * dy * x * w, (dy * x * x).sum(0)

    trial = api.prepare(rule(f), PAIR, spec=(forward, backward), framework="torch")
    trial.purse = clock
    return trial, clock


def skipped(trial, name):
    """Why a check of a trial was left, run as it is."""
    (check,) = (c for c in api.plan(trial) if c.id == name)
    try:
        assert [item for item in check.run() if not item.get("skipped")]
    except NotRun as reason:
        return str(reason)
    return ""


def test_what_is_expected_at_a_generic_point_is_found_once():
    trial, clock = counted()
    evaluated = {}
    for check in api.plan(trial, quick=True)[:5]:
        before = clock.at
        assert not any(item.get("message") for item in check.run())
        evaluated[check.id] = clock.at - before
    wider = evaluated.pop("kit::broken-twin")  # bounds, once for the three of them
    assert wider in (16, 24)
    assert list(evaluated.values()) == [19, 0, 0, 0]


def test_a_generic_point_stays_as_it_is_whoever_looks_at_it():
    def forward(weight, index):
        y = weight[index]
        index[:] = 0
        return y

    def backward(dy, weight, index):
        dw = np.zeros_like(weight)
        np.add.at(dw, index, dy)
        return dw, None

    args = [Float("V", "D"), Index("N", below="V")]
    trial = api.prepare(lambda w, i: w[i], args, spec=(forward, backward), framework="torch")
    before = trial.points.generic(0).arrays[1].copy()
    trial.reference_at(trial.points.generic(0))
    assert before.any()
    assert (trial.points.generic(0).arrays[1] == before).all()


@pytest.mark.parametrize(
    ("most", "slower", "at"),
    [
        (24, math.inf, 1),  # after one forward, of which there would be 24
        (28, 2, 7),  # after one forward and backward, of which there would be ten more
        (28, 3, 13),  # after one movement, with nine to come
        (28, math.inf, 19),
    ],
)
def test_a_point_is_left_where_its_next_step_does_not_fit(most, slower, at):
    trial, clock = counted(most / budget.FILLED, slower=slower)
    assert skipped(trial, "value::zeros").count("is spent") == (at != 19)
    assert clock.at == at


def test_a_failure_is_left_where_its_wider_bounds_do_not_fit():
    trial, clock = counted(34 / budget.FILLED, wrong)
    assert "is spent" in skipped(trial, "value::large")
    assert clock.at == 19
    trial, clock = counted(math.inf, wrong)
    assert not skipped(trial, "value::large")
    assert clock.at > 34


class Guessed:
    """A trial at a long point, whose steps at smaller sizes take `factor` times the size to a power
    in seconds; `asked` are the sizes in their order, where a first call takes as long as one of
    800. Those that are not asked for stay. On the clock is a forward at either size."""

    def __init__(self, monkeypatch, most=math.inf, few=False):
        self.trial, self.clock = counted(most)
        self.asked = ([] if few else [800, 64, 800, 64]) + [512, 512]
        monkeypatch.setattr(tried, "_cpu", self.cpu)
        self.trial.host = Few(self.trial.host) if few else self.trial.host

    def cpu(self, step):
        before = self.clock.at
        step()
        self.clock.at = before
        return self.factor * self.asked.pop(0) ** self.power

    def reason(self, factor, power, name="shape::N=4097"):
        self.factor, self.power = factor, power
        return skipped(self.trial, name)


class Few:
    """A host where a new shape is a compilation."""

    few = True

    def __init__(self, host):
        self._host = host

    def __getattr__(self, name):
        return getattr(self._host, name)


def test_a_long_point_is_left_by_how_smaller_ones_grow(monkeypatch):
    """Eight times as much for an eight times larger one is linear, and the whole fits where it
    would not if it were quadratic."""
    assert not Guessed(monkeypatch).reason(1e-6, 1)
    assert "were it quadratic" in Guessed(monkeypatch).reason(1e-6, 2)
    monkeypatch.setattr(tried, "LONGEST", math.inf)
    linear = Guessed(monkeypatch, 70.0)
    assert not linear.reason(1e-4, 1)
    assert not linear.reason(1e-4, 1, "dtype::float32-N=4097")  # a guess is for every dtype
    quadratic = Guessed(monkeypatch, 70.0)
    assert "is spent" in quadratic.reason(1e-6, 2)
    assert (quadratic.asked, quadratic.clock.at) == ([], 2)
    slow = Guessed(monkeypatch, 70.0)
    assert "is spent" in slow.reason(0.1, 1)
    assert (slow.asked, slow.clock.at) == ([512, 512], 1)  # nor is an eighth of the size tried


@pytest.mark.parametrize("most", [4096, 500, 50])
def test_a_long_point_that_the_reference_refuses_is_none(most):
    """The rule refuses it, too: at a smaller size already, where it is tried."""

    def refusing(x, w):
        if len(x) > most:
            raise ValueError("too many rows")
        return plain(x, w)

    report = verify_rule(rule(right, refusing), PAIR, ref=refusing, only="shape::N=4097")
    assert not report.failures
    assert report.skips() == {"the reference raises ValueError here": 1}
    report = verify_rule(rule(right, refusing), PAIR, ref=plain, only="shape::N=4097")
    assert "raises ValueError: too many rows" in report.failures[0].message


def test_no_differences_are_taken_to_guess_what_they_cost():
    report = verify_rule(rule(right), PAIR, only="shape::N=4097")
    assert report.skips() == {"level C takes differences of small arrays only": 1}
    assert report.trial.counted.calls < 20


def test_where_a_shape_is_a_compilation_a_long_point_counts_as_quadratic(monkeypatch):
    monkeypatch.setattr(tried, "LONGEST", math.inf)
    name = "dtype::float32-N=4097"
    assert "is spent" in Guessed(monkeypatch, 70.0, few=True).reason(1e-4, 1, name)
    assert not Guessed(monkeypatch, 70.0, few=True).reason(1e-5, 1, name)
