"""Runs of several optimizers, of groups with options of their own and of a part of the parameters,
and how they go on in JAX."""

import numpy as np
import pytest

from bpx import convert

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_jax import nn
from bpx_torch import optim

T, OPT = torch.nn, torch.optim
rng = np.random.default_rng(4)
X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 3))
THERE, BACK, STEPS = 15, 30, 40


def network():
    torch.manual_seed(3)
    parts = T.Linear(4, 6), T.LayerNorm(6), T.Tanh(), T.Linear(6, 6), T.Tanh(), T.Linear(6, 3)
    return T.Sequential(*parts).double()


NET = nn.Sequential(
    *(nn.Linear(4, 6), nn.LayerNorm(6), nn.tanh, nn.Linear(6, 6), nn.tanh, nn.Linear(6, 3)),
)


def matrices(model):
    return [p for p in model.parameters() if p.ndim == 2]


def others(model):
    return [p for p in model.parameters() if p.ndim != 2]


def exact(optimizer):
    optimizer.ns_dtype = None  # Muon's iteration in float64
    return optimizer


def muon(profile, nesterov, **options):
    def make(model):
        given = {"lr": 0.02, "weight_decay": 0.05, "nesterov": nesterov, "profile": profile}
        inner = {"lr": 0.02, "weight_decay": 0.05, "eps": 1e-8}
        return [
            exact(optim.Muon(matrices(model), **given, **options)),
            OPT.AdamW(others(model), **inner),
        ]

    return make


def grouped(kind, *groups, **options):
    """An optimizer with the matrices in one group and the others in another."""

    def make(model):
        members = matrices(model), others(model)
        named = [{"params": m, **g} for m, g in zip(members, groups, strict=True)]
        return [kind(named, **options)]

    return make


def late(model):
    """A group that is added after seven steps: its parameters count others."""
    optimizer = OPT.Adam(matrices(model), lr=0.02)
    optimizer.add_param_group({"params": others(model), "lr": 0.05})
    for p in others(model):
        p.requires_grad_(False)
    steps(model, [optimizer], 7)
    for p in others(model):
        p.requires_grad_(True)
        optimizer.state.pop(p, None)
    steps(model, [optimizer], 1)
    return [optimizer]


RUNS = {
    "muon and adamw": muon("torch", True),
    "muon of optax": muon("optax", True),
    "muon of keras": muon("keras", False, ns_steps=4),
    "a decay for matrices alone": grouped(
        OPT.AdamW, {"weight_decay": 0.3}, {"weight_decay": 0.0}, lr=0.02
    ),
    "two rates of RMSprop": grouped(
        OPT.RMSprop, {"lr": 3e-3}, {"lr": 1e-3, "momentum": 0.0}, momentum=0.7, alpha=0.9
    ),
    "two momenta": grouped(OPT.SGD, {"momentum": 0.9}, {"lr": 0.1}, lr=0.02),
    "two kinds of Adafactor": grouped(
        optim.Adafactor, {"lr": 0.03}, {"lr": 0.01, "d": 2.0}, profile="torch"
    ),
    "one group goes uphill": grouped(
        OPT.Adam, {"maximize": True, "weight_decay": 0.1}, {}, lr=0.01
    ),
    "nadam": grouped(OPT.NAdam, {"betas": (0.8, 0.99)}, {"momentum_decay": 0.1}, lr=0.01),
    "a group of its own count": late,
    "matrices alone": lambda model: [OPT.Adam(matrices(model), lr=0.02)],
    "two optimizers": lambda model: [
        OPT.SGD(matrices(model), lr=0.05, momentum=0.5, weight_decay=0.01),
        OPT.Adamax(others(model), lr=0.02),
    ],
}


def steps(model, optimizers, count):
    found = []
    for _ in range(count):
        for p in model.parameters():
            p.grad = None
        loss = (model(torch.tensor(X)) - torch.tensor(Y)).square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        found.append(loss.item())
    return found


def trained(make, count):
    model = network()
    optimizers = make(model)
    return model, optimizers, steps(model, optimizers, count)


def saved(tmp_path, model, optimizers, step):
    """Weights and the states, through a file for each."""
    runs = []
    for i, optimizer in enumerate(optimizers):
        file = tmp_path / str(i)
        held = ti.optimizer_state(optimizer, model)
        convert.save(file, convert.Run(ti.weights(model), held, step), "plain")
        runs.append(convert.load(file))
    return runs[0].weights, [run.optimizer for run in runs]


def jax_step(tx):
    """A compiled training step of NET: (params, state) -> (loss, params, state)."""

    @jax.jit
    def step(params, state):
        def f(params):
            return jnp.square(NET.apply(params, X, {}, training=True)[0] - Y).mean()

        value, grads = jax.value_and_grad(f)(params)
        updates, state = tx.update(grads, state, params)
        return value, jax.tree.map(jnp.add, params, updates), state

    return step


def in_plain(weights, held, tx=None, step=THERE):
    """Fifteen steps in JAX: losses, weights and states after them."""
    structure = weights.structure
    params, _ = ji.to_plain(weights)
    tx = ji.transformation(held, structure) if tx is None else tx
    counts = [max(one.steps.values(), default=step) for one in held]
    state = tx.init(params)
    for one, count in zip(held, counts, strict=True):
        state = ji.to_optax(one, state, structure, count)

    step_of, found = jax_step(tx), []
    for _ in range(BACK - THERE):
        value, params, state = step_of(params, state)
        found.append(float(value))
    ends = [c + BACK - THERE for c in counts]
    back = [ji.from_optax(state, one, structure, n) for one, n in zip(held, ends, strict=True)]
    return found, ji.from_plain(params, {}, structure), back


def goes_on(make, tmp_path, there):
    _, _, want = trained(make, STEPS)
    model, optimizers, got = trained(make, THERE)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        more, weights, back = there(*saved(tmp_path, model, optimizers, THERE))
    model, optimizers, _ = trained(make, 0)
    ti.load_weights(model, weights)
    for optimizer, one in zip(optimizers, back, strict=True):
        ti.load_optimizer_state(optimizer, model, one)
    got += more + steps(model, optimizers, STEPS - BACK)
    assert abs(want[THERE] - want[BACK]) > 1e-3
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)
