"""bpx_torch.health's statistics against NumPy's, and what a module's output counts as."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import bpx_torch
from bpx.health import measure
from bpx_torch import _health_measure, health
from tests.health_samples import alike


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (1, 1), (257,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_odd_sizes_and_dtypes(shape, dtype):
    x = torch.randn(shape).to(dtype)
    got = _health_measure.host([_health_measure.numbers(_health_measure.moments(x))])
    alike(got, x.double())
    _health_measure.alive(x, -1)
    assert _health_measure.saturated(x, "") is None


def test_float32_beyond_its_squares():
    for size in (1e-30, 1e-21, 1e30):
        x = torch.randn(50) * size
        alike(_health_measure.host([_health_measure.numbers(_health_measure.moments(x))]), x)


@pytest.mark.parametrize("shift", [0, 0.3, 1, 50, 1e4])
def test_means_beside_deviations(shift):
    x = torch.randn(60, 50).T + shift  # not contiguous, and deviations down to 1e-4 of the mean
    alike(_health_measure.host([_health_measure.numbers(_health_measure.moments(x))]), x)


def test_what_is_not_finite_is_counted():
    for bad in ([math.nan], [math.inf, -math.inf], [math.inf, math.nan, math.inf]):
        x = torch.cat([torch.randn(40), torch.tensor(bad)])
        alike(_health_measure.host([_health_measure.numbers(_health_measure.moments(x))]), x)


@pytest.mark.parametrize("size", [0, 1e-30, 1, 1e30])
def test_distances(size):
    new, old = torch.randn(2, 7, 3) * size
    want = float((new.double() - old.double()).norm())
    assert float(_health_measure.distance(new, old)) == pytest.approx(want, rel=1e-5)
    assert not _health_measure.distance(old, old)


def test_units_with_values_of_one_sign_are_alive():
    x = torch.tensor([[0.0, 0.0, 1.0, -2.0, math.nan], [0.0, -1.0, 0.0, 0.0, 0.0]])
    want = [False, True, True, True, True]
    assert _health_measure.alive(x, -1).tolist() == want
    assert _health_measure.alive(x.T[..., None], 0).tolist() == want
    assert _health_measure.alive(x[0], 0).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("shape", [(6, 4), (300, 5), (8, 3, 2, 2)])
def test_twins_are_numpys(shape):
    rng = np.random.default_rng(2)
    w, g = rng.standard_normal((2, *shape)).astype(np.float32)
    pairs = [(w.copy(), g.copy())]
    w[[0, 2, -1]], g[[0, 2, -1]] = w[1], g[1]
    pairs.append((w.copy(), g.copy()))
    g[0] += 1
    pairs += [(w, g), (np.zeros_like(w), g), (np.zeros_like(w), np.zeros_like(w))]
    for a, b in pairs:
        got = float(_health_measure.twins(torch.tensor(a), torch.tensor(b)))
        assert got == pytest.approx(measure.twins(a, b))
    assert _health_measure.twins(torch.ones(3), torch.ones(3)) is None
    assert _health_measure.twins(torch.ones(1, 1), torch.ones(1, 1)) is None


def test_units_that_differ_are_compared_again_ten_samples_later():
    model = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 2))
    x = torch.randn(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def equal():
        with torch.no_grad():
            for p in model.parameters():
                p.fill_(0.5)

    def train(steps):
        for _ in range(steps):
            model.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    equal()
    with health.watch(model, optimizer, every=1) as h:
        train(2)
        torch.nn.init.normal_(model[2].weight)
        train(9)
        equal()
        train(11)
    twins = [s.parameters[2].twins for s in h.history.samples]
    assert twins == [1, 1, 0, *[None] * 7, 0, *[None] * 9, 1, 1]


def test_what_modules_return():
    lstm = torch.nn.LSTM(3, 4)
    with health.watch(lstm) as h:
        y, _ = lstm(torch.randn(5, 2, 3))
        y.sum().backward()
        h.step()
    (layer,) = h.history.samples[0].layers
    assert (layer.name, layer.kind) == ("LSTM", "recurrent")
    alike(layer.activation, y.detach())
    assert _health_measure.floats({"a": torch.ones(2, dtype=int), "b": [y]}) is y
    assert _health_measure.floats(None) is None


def test_kinds_of_bpx_and_torch_are_the_same():
    for nn in (torch.nn, bpx_torch.nn):
        for name, kind in (("ReLU", "relu"), ("Tanh", "tanh"), ("Sigmoid", "sigmoid")):
            assert _health_measure.kind(getattr(nn, name)()) == kind
        assert _health_measure.kind(nn.LayerNorm(3)) == "norm"
        assert _health_measure.kind(nn.Hardtanh()) == "tanh"
        assert _health_measure.kind(nn.Hardtanh(-2, 2)) == ""
        assert _health_measure.kind(nn.MSELoss()) == "loss"
