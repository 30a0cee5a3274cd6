"""Runs of several optimizers, of groups with options of their own and of a part of the parameters:
they move after 15 steps, return after 30, and have the losses of the run that stays."""

import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
nnx = pytest.importorskip("flax.nnx")
eqx = pytest.importorskip("equinox")
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx.spec import SpecError
from bpx_jax import optim as of_jax
from bpx_torch import optim
from tests.interchange_groups import (
    BACK,
    OPT,
    RUNS,
    THERE,
    X,
    Y,
    exact,
    goes_on,
    in_plain,
    matrices,
    others,
    trained,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_run_goes_on_and_comes_back(name, tmp_path):
    goes_on(RUNS[name], tmp_path, in_plain)


def optaxs_muon(model):
    """The other parameters are AdamW's there too, with Muon's rate and eps."""
    shared = {"lr": 0.02, "eps": 1e-8}
    mine = {**shared, "nesterov": False, "profile": "optax", "weight_decay": 0.05}
    return [
        exact(optim.Muon(matrices(model), **mine)),
        OPT.AdamW(others(model), **shared, weight_decay=0.01),
    ]


def test_muon_goes_on_in_optaxs_own_and_comes_back(tmp_path):
    tx = optax.contrib.muon(0.02, nesterov=False, weight_decay=0.05, adam_weight_decay=0.01)
    goes_on(optaxs_muon, tmp_path, lambda weights, held: in_plain(weights, held, tx))


def test_adafactor_goes_on_in_optaxs_own_and_comes_back(tmp_path):
    from tests.optax_arguments import factorized  # its decay in float64

    assert factorized.scale_by_factored_rms.keywords
    given = {"lr": 0.02, "momentum": 0.5, "weight_decay": 1e-3, "min_dim_size_to_factor": 4}
    tx = optax.adafactor(0.02, 4, momentum=0.5, dtype_momentum=jnp.float64, weight_decay_rate=1e-3)
    goes_on(
        lambda model: [optim.Adafactor(model.parameters(), profile="optax", **given)],
        tmp_path,
        lambda weights, held: in_plain(weights, held, tx),
    )


def in_nnx(weights, held):
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    module = nnx.Sequential(
        nnx.Linear(4, 6, **options),
        nnx.LayerNorm(6, epsilon=1e-5, use_fast_variance=False, **options),
        jnp.tanh,
        nnx.Linear(6, 6, **options),
        jnp.tanh,
        nnx.Linear(6, 3, **options),
    )
    ji.to_nnx(weights, module)
    structure, where = weights.structure, {"layout": "nnx", "model": module}
    tx = ji.transformation(held, structure, **where)
    optimizer = nnx.Optimizer(module, tx, wrt=nnx.Param)
    state = optimizer.opt_state
    for one in held:
        state = ji.to_optax(one, state, structure, THERE, **where)
    optimizer.opt_state = nnx.data(state)

    @nnx.jit
    def step(module, optimizer):
        value, grads = nnx.value_and_grad(lambda m: jnp.square(m(X) - Y).mean())(module)
        optimizer.update(module, grads)
        return value

    found = [float(step(module, optimizer)) for _ in range(BACK - THERE)]
    back = [ji.from_optax(optimizer.opt_state, one, structure, BACK, **where) for one in held]
    return found, ji.from_nnx(module, structure), back


def in_equinox(weights, held):
    key = jax.random.key(0)
    sizes = ((4, 6), (6, 6), (6, 3))
    first, second, third = (eqx.nn.Linear(*s, key=key) for s in sizes)
    lines = first, eqx.nn.LayerNorm(6), eqx.nn.Lambda(jnp.tanh), second
    model = eqx.nn.Sequential([*lines, eqx.nn.Lambda(jnp.tanh), third])
    model, _ = ji.to_equinox(weights, model)
    structure, where = weights.structure, {"layout": "equinox"}
    tx = ji.transformation(held, structure, **where)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    for one in held:
        state = ji.to_optax(one, state, structure, THERE, **where)

    @eqx.filter_jit
    def step(model, state):
        def f(model):
            return jnp.square(jax.vmap(model)(X) - Y).mean()

        value, grads = eqx.filter_value_and_grad(f)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return value, eqx.apply_updates(model, updates), state

    found = []
    for _ in range(BACK - THERE):
        value, model, state = step(model, state)
        found.append(float(value))
    back = [ji.from_optax(state, one, structure, BACK, **where) for one in held]
    return found, ji.from_equinox(model, structure), back


@pytest.mark.slow
@pytest.mark.parametrize("library", [in_nnx, in_equinox])
@pytest.mark.parametrize("name", ["muon and adamw", "two kinds of Adafactor"])
def test_run_goes_on_in_the_library(name, library, tmp_path):
    goes_on(RUNS[name], tmp_path, library)


def test_what_groups_cannot_share_is_refused():
    model, (optimizer,), _ = trained(RUNS["two rates of RMSprop"], 2)
    structure, params = ti.structure(model), ji.to_plain(ti.weights(model))[0]
    held = ti.optimizer_state(optimizer, model)
    with pytest.raises(SpecError, match="structure is None, expected that of the model"):
        ji.transformation(held)
    with pytest.raises(SpecError, match="weight is in two optimizers, expected it in one"):
        ji.transformation([held, held], structure)
    lambs = optim.LAMB(
        [{"params": matrices(model), "lr": 0.1}, {"params": others(model)}], max_grad_norm=1.0
    )
    with pytest.raises(SpecError, match="LAMB: max_grad_norm is of all groups together, expected"):
        ji.transformation(ti.optimizer_state(lambs, model), structure)
    alone = ti.optimizer_state(OPT.Adam(matrices(model)), model)
    with pytest.raises(SpecError, match=r"ScaleByAdamState holds 0\.bias too, expected the param"):
        ji.to_optax(alone, of_jax.adam(0.1).init(params), structure, 0)
    model, (optimizer,), _ = trained(RUNS["a group of its own count"], 1)
    held = ti.optimizer_state(optimizer, model)
    with pytest.raises(SpecError, match=r"ScaleByAdamState: .* at steps \[2, 9\], expected one"):
        ji.to_optax(held, of_jax.adam(0.1).init(params), structure)
    with pytest.raises(SpecError, match=r"the steps are \[2, 9\], expected 8"):
        ji.to_optax(held, of_jax.adam(0.1).init(params), structure, 8)
    model, (optimizer,), _ = trained(RUNS["nadam"], 2)
    held = ti.optimizer_state(optimizer, model)
    with pytest.raises(SpecError, match="ScaleByNadamState: the parameters are at mu_product"):
        ji.to_optax(held, of_jax.scheduled_nadam(0.1).init(params), structure)


def test_one_decay_of_optax_takes_groups_that_differ_in_it():
    """A mask says there which leaves decay; the moments are in one tuple."""
    model, (optimizer,), _ = trained(RUNS["a decay for matrices alone"], 3)
    structure, params = ti.structure(model), ji.to_plain(ti.weights(model))[0]
    held = ti.optimizer_state(optimizer, model)
    mask = jax.tree.map(lambda p: p.ndim == 2, params)
    tx = optax.adamw(0.02, weight_decay=0.3, mask=mask)
    state = ji.to_optax(held, tx.init(params), structure)
    back = ji.from_optax(state, held, structure)
    assert back.steps == held.steps
    for key, arrays in held.slots.items():
        for n, a in arrays.items():
            assert back.slots[key][n].tobytes() == a.tobytes()
