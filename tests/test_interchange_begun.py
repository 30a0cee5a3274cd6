"""Runs that begin in JAX, with optax's own optimizers, and go on in PyTorch."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_torch import optim
from tests.interchange_groups import OPT, X, Y, exact, jax_step, matrices, network, others
from tests.optax_arguments import factorized  # noqa: F401  # Adafactor's decay in float64

THERE, STEPS = 12, 25


def muons(model):
    given = {"lr": 0.02, "eps": 1e-8}
    muon = optim.Muon(matrices(model), nesterov=False, profile="optax", **given)
    return [exact(muon), OPT.AdamW(others(model), weight_decay=0.0, **given)]


SMALL = {"min_dim_size_to_factor": 3}
# name -> (optax's, the optimizers that go on)
RUNS = {
    "adafactor": (
        lambda: optax.adafactor(0.02, 3, weight_decay_rate=1e-3),
        lambda model: [
            optim.Adafactor(model.parameters(), 0.02, weight_decay=1e-3, profile="optax", **SMALL)
        ],
    ),
    "muon": (lambda: optax.contrib.muon(0.02, nesterov=False), muons),
    "lbfgs": (
        lambda: optax.lbfgs(0.3, memory_size=4, linesearch=None),
        lambda model: [OPT.LBFGS(model.parameters(), 0.3, max_iter=1, history_size=4)],
    ),
    "schedule-free": (
        lambda: optax.contrib.schedule_free_sgd(0.1, b1=0.8),
        lambda model: [optim.SGDScheduleFree(model.parameters(), 0.1, 0.8)],
    ),
    "rmsprop": (
        lambda: optax.rmsprop(0.01, momentum=0.5),
        lambda model: [optim.RMSprop(model.parameters(), 0.01, momentum=0.5, profile="optax")],
    ),
}


def in_optax(params, tx, count):
    step, state, found = jax_step(tx), tx.init(params), []
    for _ in range(count):
        value, params, state = step(params, state)
        found.append(float(value))
    return found, params, state


def in_torch(model, optimizers, count):
    def closure():
        for p in model.parameters():
            p.grad = None
        loss = (model(torch.tensor(X)) - torch.tensor(Y)).square().mean()
        loss.backward()
        return loss

    found = []
    for _ in range(count):
        if isinstance(optimizers[0], OPT.LBFGS):
            found.append(optimizers[0].step(closure).item())
            continue
        found.append(closure().item())
        for optimizer in optimizers:
            optimizer.step()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_run_begun_in_optax_goes_on_in_torch(name):
    make, of_torch = RUNS[name]
    model = network()
    structure = ti.structure(model)
    params, _ = ji.to_plain(ti.weights(model))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        want, _, _ = in_optax(params, make(), STEPS)
        got, params, state = in_optax(params, make(), THERE)
    optimizers = of_torch(model)
    likes = [ti.optimizer_state(optimizer, model) for optimizer in optimizers]
    ti.load_weights(model, ji.from_plain(params, {}, structure))
    for optimizer, like in zip(optimizers, likes, strict=True):
        held = ji.from_optax(state, like, structure, THERE)
        ti.load_optimizer_state(optimizer, model, held)
    got += in_torch(model, optimizers, STEPS - THERE)
    assert abs(want[THERE] - want[-1]) > 1e-3
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)
