"""States of one name that mean something else in the other library; options that do not pass."""

import pytest

from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_jax import optim
from bpx_torch import optim as of_torch

OPT = torch.optim


def trained(kind, **options):
    """A small model after two steps."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    optimizer = kind(model.double().parameters(), **{"lr": 0.01, **options})
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(7, 4).double()).square().mean().backward()
        optimizer.step()
    return model, optimizer


def refused(kind, tx, match, change=None, **options):
    """A state of torch's that must not enter a state of optax's."""
    model, optimizer = trained(kind, **options)
    if change is not None:
        optimizer.param_groups[0].update(change)
    weights = ti.weights(model)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        params, _ = ji.to_plain(weights)
        state = tx.init(params)
        with pytest.raises(SpecError, match=match):
            ji.to_optax(ti.optimizer_state(optimizer, model), state, weights.structure)


def test_what_optaxs_own_tuple_means_otherwise_is_refused():
    refused(OPT.Adam, optax.amsgrad(0.01), "holds optax's ScaleByAmsgradState, exp", amsgrad=True)
    refused(OPT.Rprop, optax.rprop(0.01), "holds optax's ScaleByRpropState, expected bpx_jax's")


def test_momenta_of_other_options_are_refused():
    tx, change = optim.scheduled_nadam(0.01), {"betas": (0.8, 0.999)}
    refused(OPT.NAdam, tx, "NAdam: mu_product of 0.weight is .* of these options", change)


def test_a_first_velocity_that_is_not_dampened_is_refused():
    model, optimizer = trained(OPT.SGD, momentum=0.9, dampening=0.5)
    ji.transformation(ti.optimizer_state(optimizer, model))
    optimizer.state.clear()
    with pytest.raises(SpecError, match=r"dampening is 0\.5 before the first step, exp"):
        ji.transformation(ti.optimizer_state(optimizer, model))


def test_schedule_free_runs_that_optax_has_not():
    kind = of_torch.SGDScheduleFree
    for options, says in (
        ({"r": 0.5}, "schedule_free_sgd: r is 0.5, expected 0"),
        ({"warmup_steps": 3}, "the run is at step 2 of warmup_steps=3, expected it behind"),
    ):
        model, optimizer = trained(kind, **options)
        with pytest.raises(SpecError, match=says):
            ji.transformation(ti.optimizer_state(optimizer, model))
    model, optimizer = trained(kind)
    optimizer.eval()
    with pytest.raises(SpecError, match=r"train_mode is False, expected True \(call optimizer"):
        ji.transformation(ti.optimizer_state(optimizer, model))
    optimizer.train()
    held, structure = ti.optimizer_state(optimizer, model), ti.structure(model)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        params, _ = ji.to_plain(ti.weights(model))
        for tx in (ji.transformation(held), optax.contrib.schedule_free_sgd(0.01, b1=0.9)):
            state = ji.to_optax(held, tx.init(params), structure)
            assert (int(state.step_count), float(state.max_lr)) == (3, 0.01)
            back = ji.from_optax(state, held, structure)
            want, got = (dict(x.groups[0].options) for x in (held, back))
            assert got.pop("weight_sum") == pytest.approx(want.pop("weight_sum"), rel=1e-6)
            assert got.pop("lr_max") == pytest.approx(want.pop("lr_max"), rel=1e-6)
            assert got == want
