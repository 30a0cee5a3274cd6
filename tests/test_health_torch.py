"""bpx_torch.health: what is measured, when, and that nothing is left behind; planted faults."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx.demo import specimens
from bpx.health import measure
from bpx.spec import SpecError
from bpx_torch import health
from bpx_torch import specimens as built
from tests.health_samples import alike


def net(act=None, seed=0):
    torch.manual_seed(seed)
    act = torch.nn.ReLU() if act is None else act
    return torch.nn.Sequential(torch.nn.Linear(3, 7), act, torch.nn.Linear(7, 2))


def hooks(model):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in model.modules()
    ) + sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters())


def train(model, h, x, steps=1, optimizer=None):
    for _ in range(steps):
        model.zero_grad()
        model(x).square().mean().backward()
        if optimizer is None:
            h.step()
        else:
            optimizer.step()


@pytest.mark.parametrize("given", [True, False], ids=["optimizer", "step"])
def test_a_sample_is_what_numpy_finds(given):
    model, x = net(torch.nn.Tanh()), torch.randn(11, 3) * 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    h1 = model[0](x)
    h2 = torch.tanh(h1)
    y = model[2](h2)
    grads = torch.autograd.grad(y.square().mean(), [h1, h2, y, *model.parameters()])
    before = [p.detach().clone() for p in model.parameters()]
    with health.watch(model, optimizer if given else None) as h:
        model(x).square().mean().backward()
        optimizer.step()
        if not given:
            h.step()
    (sample,) = h.history.samples
    assert [layer.name for layer in sample.layers] == ["0", "1", "2"]
    assert [layer.kind for layer in sample.layers] == ["linear", "tanh", "linear"]
    for layer, value, grad in zip(sample.layers, (h1, h2, y), grads, strict=False):
        alike(layer.activation, value.detach())
        alike(layer.gradient, grad)
    assert sample.layers[1].saturated == measure.saturated(h2.detach(), "tanh")
    assert 0 < sample.layers[1].saturated < 1
    for p, old, grad in zip(sample.parameters, before, grads[3:], strict=True):
        alike(p.weight, old)
        alike(p.gradient, grad)
        assert p.update == pytest.approx(float(grad.norm()) * 0.1, rel=1e-5)
        assert p.shape == tuple(old.shape)
    assert [p.layer for p in sample.parameters] == ["0", "0", "2", "2"]
    assert sample.parameters[0].ratio == pytest.approx(
        0.1 * float(grads[3].norm() / before[0].norm()), rel=1e-5
    )


def test_only_sampled_steps_have_hooks():
    model, x = net(), torch.randn(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with health.watch(model, optimizer, every=3) as h:
        seen = []
        for _ in range(8):
            seen.append(hooks(model) > 0)
            train(model, h, x, 1, optimizer)
    assert seen == [True, False, False, True, False, False, True, False]
    assert [s.step for s in h.history.samples] == [0, 3, 6]
    assert hooks(model) == 0
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    with health.watch(model, every=2) as h:
        train(model, h, x, 3)
    assert [s.step for s in h.history.samples] == [0, 2]
    assert hooks(model) == 0


def test_a_step_that_an_exception_ends_is_kept_and_hooks_go():
    model, h = net(), None

    def stopped():
        nonlocal h
        with health.watch(model) as h:
            model(torch.full((2, 3), math.nan))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stopped()
    assert h.report().nonfinite.layer == "0"
    assert hooks(model) == 0
    assert not health._SAMPLING


def test_validation_and_other_passes():
    """No-grad passes are not looked at; passes of one step are put together."""
    model, x = net(), torch.randn(4, 3)
    more = torch.cat([x, 5 * torch.randn(6, 3)])
    with health.watch(model) as h:
        with torch.no_grad():
            model(100 + x)
        for part in (more[:4], more[4:]):
            model(part).square().mean().backward()
        h.step()
    (sample,) = h.history.samples
    alike(sample.layers[0].activation, model[0](more).detach())
    relu = sample.layers[1]
    assert relu.examples == 10
    assert relu.dead == pytest.approx(measure.dead(torch.relu(model[0](more)).detach()))


@pytest.mark.parametrize("channels", [True, False])
def test_units_are_channels_after_a_convolution(channels):
    act = torch.nn.ReLU()
    if channels:
        model, x = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 1), act), torch.randn(5, 3, 6)
    else:
        model, x = torch.nn.Sequential(torch.nn.Linear(3, 4), act), torch.randn(5, 6, 3)
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-99.0, 0, -99, -99]))
    with health.watch(model) as h:
        train(model, h, x)
    layer = h.history.samples[0].layers[1]
    assert (layer.dead, layer.examples) == (0.75, 30)


def test_clipped_gradients_are_seen_clipped():
    model, x = net(), torch.randn(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    with health.watch(model, optimizer) as h:
        model(x).square().mean().backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), 1e-6)
        optimizer.step()
    assert all(p.gradient.rms <= 1.01e-6 for p in h.history.samples[0].parameters)


def test_frozen_and_shared_parameters():
    model, x = net(), torch.randn(5, 3)
    model[0].requires_grad_(False)
    with health.watch(model, torch.optim.SGD(model[2].parameters(), lr=0.1)) as h:
        train(model, h, x, 1, h.optimizer)
    first, _, last, _ = h.history.samples[0].parameters
    assert (first.gradient, first.update, first.twins) == (None, None, None)
    assert last.ratio > 0
    assert h.history.samples[0].layers[0].gradient is None


def test_compiled_models_are_seen_and_the_stance_is_given_back():
    compiled = []

    def backend(graph, _):
        compiled.append(graph)
        return graph.forward

    model, x = net(), torch.randn(5, 3)
    fast = torch.compile(model, backend=backend)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with health.watch(fast, optimizer, every=2) as h:
        train(fast, h, x, 4, optimizer)
        assert compiled  # the steps between
    assert [s.step for s in h.history.samples] == [0, 2]
    assert all([x.name for x in s.layers] == ["0", "1", "2"] for s in h.history.samples)
    with torch.no_grad():
        compiled.clear()
        torch.compile(lambda x: x.sin() + 1, backend=backend)(x)
    assert compiled


def test_tag():
    x = torch.randn(4, 3, requires_grad=True)
    model = net()
    assert health.tag(x, "x") is x
    with health.watch(model) as h:
        y = health.tag(torch.relu(model(x) - 99), "act", "relu")
        health.tag(y.sum().log(), "loss", "loss").backward()
        h.step()
    report = h.report()
    assert report.samples[0].layers[-2].dead == 1
    assert report.nonfinite.layer == "loss"
    graph = torch.compile(lambda x: health.tag(x, "x") * 2, backend="eager", fullgraph=True)
    np.testing.assert_array_equal(graph(x).detach(), 2 * x.detach())


@pytest.mark.parametrize(("face", "seed"), [("bpx", 0), ("own", 1)])
def test_planted_faults_are_named(face, seed):
    for specimen in specimens.ALL:
        report = built.report(specimen, seed, face)
        assert report.diagnosis == specimen.fault, (specimen.name, report.words)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: health.watch(3), "model is int, expected a torch.nn.Module"),
        (lambda: health.watch(net(), "sgd"), "optimizer is str, expected a torch.optim.Optimizer"),
        (lambda: health.watch(net(), every=0), "every is 0, expected a whole number over 0"),
        (lambda: health.watch(net(), keep=1), "keep is 1, expected a whole number, at least 2"),
        (lambda: health.watch(net()).step(), "step() was called outside of the `with` statement"),
        (lambda: health.watch(net()).report(), "samples is empty, expected at least one"),
        (lambda: health.tag(torch.ones(2), "a", "spam"), "kind is 'spam', expected one of ["),
        (lambda: health.tag(torch.ones(2, dtype=int), "a"), "a is torch.int64, expected a floatin"),
        (lambda: health.tag(2.0, "a"), "a is float, expected a floating tensor"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(SpecError) as error:
        call()
    assert str(error.value).startswith(f"health: {says}")


def test_refuses_what_the_state_forbids():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with health.watch(model, optimizer) as h:
        with pytest.raises(
            SpecError, match=r"^health: step\(\) was called on a watch with an opti"
        ):
            h.step()
        with pytest.raises(SpecError, match=r"^health: watch is open already, expected one"), h:
            pass
    assert hooks(model) == 0
