"""LSUV: the specification, a torch module, a list of JAX layers."""

from itertools import pairwise

import numpy as np
import pytest

from bpx import random
from bpx.initializers import lsuv, sample
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")

import bpx_jax
import bpx_torch

SIZES = (12, 30, 7, 5)
X = random.normal(1, (40, 12), np.float64) * 3 + 0.5


def drawn():
    return {
        f"{2 * i}": sample("orthogonal", random.fold_in(5, i), (b, a), np.float64)
        for i, (a, b) in enumerate(pairwise(SIZES))
    }


def outputs(weights):
    h, found = X, {}
    for name, w in weights.items():
        found[name] = h @ w.T
        h = np.tanh(found[name])
    return found


def module():
    layers = [torch.nn.Linear(a, b) for a, b in pairwise(SIZES)]
    parts = [p for layer in layers for p in (layer, torch.nn.Tanh())]
    return torch.nn.Sequential(*parts[:-1]).double()


@pytest.mark.parametrize("tol", [0.0, 0.1])
def test_specification(tol):
    start = drawn()
    kept = {k: w.copy() for k, w in start.items()}
    weights, reached = lsuv(start, outputs, tol=tol, max_steps=2)
    assert all((start[k] == kept[k]).all() for k in kept)  # nothing in place
    rounding = 100 * np.finfo(np.float64).eps
    for name, y in outputs(weights).items():
        assert abs(y.var() - 1) <= tol + rounding
        assert reached[name] == pytest.approx(y.var(), rel=1e-14)
        factor = weights[name] / kept[name]
        np.testing.assert_allclose(factor, factor.flat[0], rtol=1e-14)  # orthonormal, but for scale
    assert any((weights[k] != kept[k]).any() for k in kept)


def test_torch_is_the_specification():
    want, reached = lsuv(drawn(), outputs, tol=1e-6)
    model = module()
    model[0].train()
    model[2].eval()
    found = bpx_torch.lsuv_(model, torch.from_numpy(X), tol=1e-6, key=5)
    assert list(found) == list(want) == list(reached)
    for name, layer in model.named_children():
        if name in want:
            np.testing.assert_allclose(layer.weight.detach().numpy(), want[name], rtol=1e-12)
            assert not layer.bias.any()
            assert layer.weight.requires_grad
            assert layer.weight.grad_fn is None
    assert model[0].training
    assert not model[2].training
    assert not model[0]._forward_hooks


def test_torch_convolutions_batch_norm_and_order():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.last = torch.nn.Linear(6, 3)  # declared first, runs last
            self.up = torch.nn.ConvTranspose2d(4, 6, 3, bias=False)
            self.down = torch.nn.Conv2d(2, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.drop = torch.nn.Dropout(0.5)

        def forward(self, x, scale):
            x = self.drop(torch.relu(self.norm(self.down(x * scale))))
            return self.last(torch.relu(self.up(x)).mean((2, 3)))

    net, x = Net(), torch.randn(9, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    buffers = {k: v.clone() for k, v in net.named_buffers()}
    state = torch.get_rng_state()
    found = bpx_torch.lsuv_(net, x, 5.0, tol=0.01, key=2)
    assert list(found) == ["down", "up", "last"]
    assert all(abs(v - 1) <= 0.01 for v in found.values())
    assert all(torch.equal(v, buffers[k]) for k, v in net.named_buffers())
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    only = bpx_torch.lsuv_(net, x, 5.0, layers=["up"], key=2)
    assert list(only) == ["up"]


def test_jax_layers():
    def dense(n, m):
        def init(key, shape):
            assert shape[-1] == n
            return {"kernel": jnp.ones((n, m)), "bias": jnp.ones(m)}

        return init, lambda p, x: x @ p["kernel"] + p["bias"][None]

    tanh = (lambda key, shape: (), lambda p, x: jnp.tanh(x))
    layers = [dense(12, 30), tanh, dense(30, 7), tanh, dense(7, 5)]
    params, reached = bpx_jax.lsuv(jax.random.key(3), layers, jnp.asarray(X), tol=1e-9)
    h = X
    for (_, apply), p, v in zip(layers, params, reached, strict=True):
        h = np.asarray(apply(p, h))
        if p == ():
            assert v is None
            continue
        assert abs(h.var() - 1) <= 2e-9
        assert v == pytest.approx(h.var(), rel=1e-12)
        q = np.asarray(p["kernel"])
        q = q if q.shape[0] <= q.shape[1] else q.T
        gram = q @ q.T
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(len(gram)), atol=1e-12 * gram[0, 0])
        assert not np.asarray(p["bias"]).any()


def shared():
    layer = torch.nn.Linear(4, 4)
    return torch.nn.Sequential(layer, layer)


def tied():
    a, b = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    b.weight = a.weight
    return torch.nn.Sequential(a, b)


T = torch.ones(3, 4)
NORMED = torch.nn.Sequential(torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(4, 4)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lsuv(drawn(), outputs, tol=-1), "lsuv: tol is -1, expected a finite number"),
        (lambda: lsuv(drawn(), outputs, max_steps=0), "lsuv: max_steps is 0, expected an int"),
        (lambda: lsuv(drawn(), lambda w: {}), "lsuv: '0' gives no output, expected one for each"),
        (
            lambda: lsuv(drawn(), lambda w: {"0": np.ones((2, 3))}),
            "lsuv: the output of '0' has variance 0.0, expected a finite one above 0",
        ),
        (lambda: bpx_torch.lsuv_(shared(), T), "lsuv: '0' runs 2 times in a pass, expected once"),
        (lambda: bpx_torch.lsuv_(tied(), T), "lsuv: '1' shares its weight with '0', expected"),
        (lambda: bpx_torch.lsuv_(torch.nn.ReLU(), T), "lsuv: the module has no Linear and no Conv"),
        (lambda: bpx_torch.lsuv_(NORMED, T), "lsuv: the weight of '0' is parametrized, expected"),
        (
            lambda: bpx_torch.lsuv_(module(), T, layers=["1"]),
            "lsuv: '1' is in layers, expected the name of a Linear or Conv",
        ),
        (
            lambda: bpx_torch.lsuv_(torch.nn.Linear(4, 2), T * 0, key=1),
            "lsuv: the output of '' has variance 0.0",
        ),
        (
            lambda: bpx_jax.lsuv(jax.random.key(0), [jnp.tanh], jnp.ones((2, 3))),
            "lsuv: layers are not all pairs of functions, expected (init, apply)",
        ),
    ],
)
def test_rejects(call, message):
    with pytest.raises(SpecError) as caught:
        call()
    assert str(caught.value).startswith(message)
