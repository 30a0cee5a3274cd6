"""bpx_torch.health.watch on models that change between samples, and on what outlives a step."""

import copy
import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bpx_torch import _health_native as core
from bpx_torch import health
from tests.health_samples import alike


def net():
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(), torch.nn.Linear(7, 2))


def step(model, optimizer, x):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


class Mixed(torch.nn.Module):
    """Layers of every kind, a convolution, two dtypes, a layer called twice, a frozen one."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(3, 6, 3, padding=1)
        self.relu, self.tanh = torch.nn.ReLU(True), torch.nn.Tanh()
        self.sigmoid, self.softmax = torch.nn.Sigmoid(), torch.nn.Softmax(-1)
        self.frozen = torch.nn.Linear(5, 5).requires_grad_(False)
        self.narrow = torch.nn.Linear(5, 9).bfloat16()
        self.embedding = torch.nn.Embedding(4, 9, sparse=True)
        self.out = torch.nn.Linear(9, 4)
        self.scale = torch.nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        x = self.relu(self.frozen(self.relu(self.conv(x))))
        x = self.tanh(self.narrow(x.bfloat16())).float() * self.scale
        x = x + self.sigmoid(self.embedding(torch.arange(6) % 4).t().contiguous().t())
        return self.softmax(3 * self.out(x))


@pytest.mark.parametrize("given", [True, False], ids=["optimizer", "step"])
def test_samples_are_those_without_the_core(given, monkeypatch):
    def samples():
        torch.manual_seed(0)
        model = Mixed()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
        with health.watch(model, optimizer if given else None, every=1) as h:
            for _ in range(2):
                optimizer.zero_grad()
                (model(torch.randn(8, 3, 5))[..., 0].log().mean()).backward()
                optimizer.step()
                if not given:
                    h.step()
        return h.history.samples

    found = samples()
    monkeypatch.setattr(core, "address", lambda x: 0)
    for a, b in zip(found, samples(), strict=True):
        for part in ("layers", "parameters"):
            assert len(getattr(a, part)) == len(getattr(b, part)) > 8
            for one, other in zip(getattr(a, part), getattr(b, part), strict=True):
                near(dataclasses.asdict(one), dataclasses.asdict(other), (one.name, ""))


def near(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        size = b.get("variance", 0) ** 0.5 + abs(b.get("mean", 0))
        for k in a:
            if k in ("mean", "variance"):
                slack = size * 1e-6 if k == "mean" else size**2 * 1e-6
                np.testing.assert_allclose(a[k], b[k], rtol=1e-5, atol=slack, err_msg=str(where))
            else:
                near(a[k], b[k], (*where, k))
    elif isinstance(a, float):
        # without the core bfloat16 rounds differences: of y and 1/2, of weights after and before
        rough = {"saturated": {"abs": 0.02}, "update": {"rel": 2**-8}}
        assert a == pytest.approx(b, **rough.get(where[-1], {"rel": 1e-4})), where
    else:
        assert a == b, where


def test_a_model_that_changes_is_found_anew():
    model, x = net(), torch.randn(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    with health.watch(model, optimizer, every=1) as h:
        step(model, optimizer, x)  # the next sample is open from here on
        model[2].weight = torch.nn.Parameter(torch.ones(2, 7))  # its own is no longer looked at
        model[1] = torch.nn.Tanh()
        step(model, optimizer, x)
        step(model, optimizer, x)
        model.append(torch.nn.Linear(2, 2))
        step(model, optimizer, x)
        step(model, optimizer, x)
    samples = h.history.samples
    kinds = [[layer.kind for layer in s.layers] for s in samples]
    new = ["linear", "tanh", "linear"]
    assert kinds == [["linear", "relu", "linear"], ["linear", "linear"], new, new, [*new, "linear"]]
    assert [len(s.parameters) for s in samples] == [4, 4, 4, 4, 6]
    alike(samples[2].parameters[2].weight, np.ones((2, 7)))
    assert samples[2].parameters[2].update is None  # the optimizer does not have it


def test_parameters_that_change_their_place_and_dtype():
    model, x = net(), torch.randn(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    weight, steps = model[0].weight, 0
    with health.watch(model, optimizer, every=1) as h:
        for change in (lambda w: w, lambda w: w.clone() * 2, lambda w: w.t().contiguous().t()):
            weight.data = change(weight.data)
            old = weight.detach().clone()
            step(model, optimizer, x)
            sample, steps = h.history.samples[-1], steps + 1
            alike(sample.parameters[0].weight, old)
            alike(sample.parameters[0].gradient, weight.grad)
            want = float((weight.detach().double() - old.double()).norm())
            assert sample.parameters[0].update == pytest.approx(want, rel=1e-5)
        model.double()
        step(model, optimizer, x.double())
    assert len(h.history.samples) == steps + 1
    alike(h.history.samples[-1].parameters[0].gradient, weight.grad, rtol=1e-9)


def test_an_update_that_moves_a_parameter_elsewhere():
    class Moving(torch.optim.SGD):
        def step(self):
            for p in self.param_groups[0]["params"]:
                p.data = p.data + 2 * torch.ones_like(p)

    model = net()
    optimizer = Moving(model.parameters(), lr=1)
    with health.watch(model, optimizer) as h:
        step(model, optimizer, torch.randn(5, 3))
    for p in h.history.samples[0].parameters:
        assert p.update == pytest.approx(2 * np.prod(p.shape) ** 0.5, rel=1e-6)


def test_outputs_are_seen_before_they_are_overwritten():
    model = torch.nn.Sequential(torch.nn.Linear(3, 7), torch.nn.ReLU(inplace=True))
    x = torch.randn(5, 3)
    with health.watch(model) as h:
        model(x).square().mean().backward()
        h.step()
    first, second = h.history.samples[0].layers
    y = model[0](x).detach()
    alike(first.activation, y)
    alike(second.activation, y.relu())
    alike(second.gradient, 2 * y.relu() / y.numel())
    alike(first.gradient, 2 * y.relu() / y.numel())


def test_nothing_is_counted_after_the_step():
    class Table(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3, 7))

        def forward(self):
            return self.weight

    table, out, x = Table(), torch.nn.Linear(7, 2), torch.randn(5, 3)
    model = torch.nn.ModuleList([table, out])
    with health.watch(model, every=3) as h:
        other = copy.deepcopy(out)  # with its hook
        y = out(x @ table()).square().sum()
        y.backward(retain_graph=True)
        h.step()
        y.backward()
        other(torch.randn(9, 7)).sum().backward()
    layers = h.history.samples[0].layers
    assert [(layer.activation.count, layer.gradient.count) for layer in layers] == [
        (21, 21),
        (10, 10),
    ]
    assert not table.weight._backward_hooks


def test_transforms_in_a_sampled_step_are_passed_over():
    model, x = net(), torch.randn(5, 3, requires_grad=True)
    with health.watch(model) as h:
        torch.func.vmap(model)(x[None])
        torch.func.grad(lambda x: model(x).sum())(x)
        y = model(x)
        torch.autograd.grad(y, x, torch.randn(6, 5, 2), is_grads_batched=True, retain_graph=True)
        y.sum().backward()
        h.step()
    counts = [(s.activation.count, s.gradient.count) for s in h.history.samples[0].layers]
    assert counts == [(35, 35), (35, 35), (10, 10)]


def test_a_step_tried_twice_counts_once():
    model, tries = net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def fails():
        if not tries:
            tries.append(1)
            raise ZeroDivisionError
        return None

    with health.watch(model, optimizer) as h:
        model(torch.randn(5, 3)).sum().backward()
        with pytest.raises(ZeroDivisionError):
            optimizer.step(fails)
        with torch.no_grad():
            model[0].weight.mul_(3)
            model[2].weight.fill_(0.5)
        old = model[0].weight.detach().clone()
        optimizer.step(fails)
    (sample,) = h.history.samples
    alike(sample.parameters[0].weight, old)
    assert sample.parameters[0].update == pytest.approx(0.1 * sample.parameters[0].gradient.norm)
    assert sample.parameters[2].twins == 1  # the gradients are equal too
