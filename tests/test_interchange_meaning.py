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
    decayed = {"amsgrad": True, "weight_decay": 0.1}
    refused(OPT.AdamW, optim.amsgrad(0.01), "adamw: weight_decay is 0.1, expected 0", **decayed)


def test_momenta_of_other_options_are_refused():
    tx, change = optim.scheduled_nadam(0.01), {"betas": (0.8, 0.999)}
    refused(OPT.NAdam, tx, "NAdam: mu_product of 0.weight is .* of these options", change)


@pytest.mark.parametrize(
    ("kind", "key", "options"),
    [
        ("SGD", "lr_in_momentum", {"momentum": 0.5}),
        ("SGD", "decoupled_weight_decay", {"weight_decay": 0.1}),
        ("RMSprop", "eps_in_sqrt", {}),
        ("Adagrad", "eps_in_sqrt", {"eps": 0.0}),
        ("RAdam", "decoupled_weight_decay", {"weight_decay": 0.1}),
        ("Adamax", "decoupled_weight_decay", {"weight_decay": 0.1}),
    ],
)
def test_options_of_another_profile_are_not_left_out(kind, key, options):
    model, optimizer = trained(getattr(of_torch, kind), **options, **{key: True})
    held = ti.optimizer_state(optimizer, model)
    with pytest.raises(SpecError, match=f"convert: {kind.lower()}: {key} is True, expected False"):
        ji.transformation(held)
