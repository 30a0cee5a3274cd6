"""A training run that moves from PyTorch to JAX after 50 steps and back after 100 goes on with the
losses of the run that stays, in float64 to 1e-9; the loss has moved by 1e-2 and more meanwhile."""

import numpy as np
import pytest

from bpx import convert

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_jax import losses, nn
from bpx_torch import optim

pytestmark = pytest.mark.slow

T = torch.nn
STEPS, THERE, BACK = 150, 50, 100


class Sequence(T.Module):
    """Embedding and LSTM: the rows of a Sequential pass one array, torch's LSTM gives two."""

    def __init__(self):
        super().__init__()
        self.words, self.cells, self.out = T.Embedding(9, 4), T.LSTM(4, 5), T.Linear(5, 3)

    def forward(self, x):
        return self.out(self.cells(self.words(x))[0])


class Words(nn.Module):
    words, cells, out = nn.Embedding(9, 4), nn.LSTM(4, 5), nn.Linear(5, 3)

    def step(self, params, x, state, key, training):
        x, _ = self.cells.apply(params["cells"], self.words.apply(params["words"], x))
        return self.out.apply(params["out"], x), state


def flattened(x):
    return x.reshape(len(x), -1)


def dense():
    parts = T.Linear(6, 8), T.LayerNorm(8), T.Tanh(), T.Linear(8, 8), T.BatchNorm1d(8)
    return T.Sequential(*parts, T.Tanh(), T.Linear(8, 3))


def convolutional():
    parts = T.Conv2d(2, 4, 3, padding=1), T.BatchNorm2d(4), T.SiLU(), T.Conv2d(4, 3, 2, 2)
    return T.Sequential(*parts, T.GroupNorm(3, 3), T.Flatten(), T.Linear(12, 3))


# name -> (torch's model, JAX's, shape of a batch)
NETWORKS = {
    "dense": (
        dense,
        nn.Sequential(
            *(nn.Linear(6, 8), nn.LayerNorm(8), nn.tanh, nn.Linear(8, 8), nn.BatchNorm(8)),
            *(nn.tanh, nn.Linear(8, 3)),
        ),
        (12, 6),
    ),
    "convolutional": (
        convolutional,
        nn.Sequential(
            *(nn.Conv(2, 4, (3, 3), padding=1), nn.BatchNorm(4), nn.silu),
            *(nn.Conv(4, 3, (2, 2), stride=2), nn.GroupNorm(3, 3), flattened, nn.Linear(12, 3)),
        ),
        (8, 2, 4, 4),
    ),
    "recurrent": (Sequence, Words(), None),
}
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.01}),
    "nesterov": (torch.optim.SGD, {"lr": 0.02, "momentum": 0.8, "nesterov": True}),
    "plain sgd": (torch.optim.SGD, {"lr": 0.05}),
    "adagrad": (
        torch.optim.Adagrad,
        {"lr": 0.03, "eps": 1e-3, "initial_accumulator_value": 0.1, "lr_decay": 0.01},
    ),
    "adagrad of keras": (optim.Adagrad, {"lr": 0.03, "weight_decay": 0.1, "profile": "keras"}),
    "sgd of keras": (
        optim.SGD,
        {"lr": 0.03, "momentum": 0.7, "weight_decay": 0.1, "profile": "keras"},
    ),
    "dampened sgd": (
        torch.optim.SGD,
        {"lr": 0.03, "momentum": 0.8, "dampening": 0.4, "weight_decay": 0.01},
    ),
    "rmsprop of optax": (optim.RMSprop, {"lr": 3e-3, "momentum": 0.5, "profile": "optax"}),
    "rmsprop of keras": (
        optim.RMSprop,
        {"lr": 1e-3, "centered": True, "weight_decay": 0.1, "eps": 1e-3, "profile": "keras"},
    ),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.003, "alpha": 0.9, "weight_decay": 0.01}),
    "centered rmsprop": (
        torch.optim.RMSprop,
        {"lr": 0.001, "alpha": 0.9, "momentum": 0.5, "centered": True, "eps": 1e-3},
    ),
    "adam": (torch.optim.Adam, {"lr": 0.01, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-4}),
    "bpx adamw": (optim.AdamW, {"lr": 0.01, "betas": (0.8, 0.95)}),
    "adadelta": (torch.optim.Adadelta, {"lr": 1.0, "weight_decay": 0.01}),
    "adamax": (torch.optim.Adamax, {"lr": 0.01}),
    "lion": (optim.Lion, {"lr": 0.002, "weight_decay": 0.1}),
    "lamb": (optim.LAMB, {"lr": 0.01}),
    "clipped lamb": (optim.LAMB, {"lr": 0.01, "max_grad_norm": 0.2}),
    "lars": (optim.LARS, {"lr": 3.0, "norm_of_sum": True, "eps": 1e-3}),
    "radam": (torch.optim.RAdam, {"lr": 0.01, "eps": 1e-3}),
    "decoupled radam": (
        torch.optim.RAdam,
        {"lr": 0.01, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "decoupled adamax": (
        optim.Adamax,
        {"lr": 0.01, "weight_decay": 0.2, "decoupled_weight_decay": True},
    ),
    "radam of optax": (optim.RAdam, {"lr": 0.01, "eps": 1e-3, "profile": "optax"}),
    "amsgrad": (torch.optim.Adam, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.01}),
    "amsgrad of optax": (optim.Adam, {"lr": 0.01, "amsgrad": True, "profile": "optax"}),
    "adamw amsgrad": (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.2}),
    "adam of keras": (optim.Adam, {"lr": 0.01, "eps": 1e-3, "profile": "keras"}),
    "adamax of keras": (optim.Adamax, {"lr": 0.01, "eps": 1e-3, "profile": "keras"}),
    "nadam": (torch.optim.NAdam, {"lr": 0.01, "weight_decay": 0.01, "momentum_decay": 0.1}),
    "adafactor": (torch.optim.Adafactor, {"lr": 0.01, "weight_decay": 0.01, "d": 1.5}),
    "adafactor of optax": (
        optim.Adafactor,
        {
            "lr": 0.02,
            "momentum": 0.5,
            "weight_decay": 1e-4,
            "profile": "optax",
            "min_dim_size_to_factor": 4,
            "decay_offset": -2,
        },
    ),
    "adafactor of keras": (optim.Adafactor, {"lr": 0.01, "profile": "keras"}),
    "schedule-free sgd": (
        optim.SGDScheduleFree,
        {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.01, "warmup_steps": 20},
    ),
    "schedule-free adamw": (
        optim.AdamWScheduleFree,
        {"lr": 0.01, "betas": (0.8, 0.99), "weight_decay": 0.1, "weight_lr_power": 1.0},
    ),
    "rprop": (torch.optim.Rprop, {"lr": 1e-4, "etas": (0.4, 1.1)}),
}
RUNS = [("dense", name) for name in OPTIMIZERS]
RUNS += [("convolutional", "adamw"), ("recurrent", "adam"), ("recurrent", "sgd")]
RUNS += [("convolutional", "adafactor"), ("convolutional", "adafactor of optax")]


def batches(shape):
    """Three batches in turn, (x, target)."""
    rng = np.random.default_rng(5)
    if shape is None:
        return [(rng.integers(0, 9, (6, 4)), rng.standard_normal((6, 4, 3))) for _ in range(3)]
    return [(rng.standard_normal(shape), rng.standard_normal((shape[0], 3))) for _ in range(3)]


def torch_steps(model, optimizer, data, first, last):
    found = []
    for t in range(first, last):
        x, target = (torch.tensor(a) for a in data[t % 3])
        optimizer.zero_grad()
        loss = T.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def jax_steps(net, params, state, tx, opt_state, data, first, last):
    @jax.jit
    def step(params, state, opt_state, x, target):
        def f(params):
            y, new = net.apply(params, x, state, training=True)
            return losses.squared_error(y, target).mean(), new

        (loss, state), grads = jax.value_and_grad(f, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return loss, jax.tree.map(jnp.add, params, updates), state, opt_state

    found = []
    for t in range(first, last):
        x, target = map(jnp.asarray, data[t % 3])
        loss, params, state, opt_state = step(params, state, opt_state, x, target)
        found.append(float(loss))
    return found, params, state, opt_state


def start(network, optimizer):
    torch.manual_seed(1)
    model = NETWORKS[network][0]().double()
    kind, options = OPTIMIZERS[optimizer]
    return model, kind(model.parameters(), **options)


@pytest.mark.parametrize(("network", "name"), RUNS)
def test_run_moves_and_comes_back(network, name, tmp_path):
    data = batches(NETWORKS[network][2])
    want = torch_steps(*start(network, name), data, 0, STEPS)
    assert min(abs(want[t] - want[t + 3]) for t in (40, 60, 90)) > 1e-7  # it is still learning
    assert abs(want[0] - want[99]) > 1e-2

    model, optimizer = start(network, name)
    got = torch_steps(model, optimizer, data, 0, THERE)
    file = tmp_path / "run.safetensors"
    held = ti.optimizer_state(optimizer, model)
    convert.save(file, convert.Run(ti.weights(model), held, THERE), "plain")

    run = convert.load(file)
    net, structure = NETWORKS[network][1], run.weights.structure
    params, state = ji.to_plain(run.weights)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        tx = ji.transformation(run.optimizer)
        opt_state = ji.to_optax(run.optimizer, tx.init(params), structure, run.step)
        more, *after = jax_steps(net, params, state, tx, opt_state, data, THERE, BACK)
    params, state, opt_state = after
    moved = ji.from_optax(opt_state, run.optimizer, structure, BACK)
    convert.save(file, convert.Run(ji.from_plain(params, state, structure), moved, BACK))

    run = convert.load(file)
    model, optimizer = start(network, name)
    ti.load_weights(model, run.weights)
    ti.load_optimizer_state(optimizer, model, run.optimizer)
    got += more + torch_steps(model, optimizer, data, BACK, STEPS)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)
