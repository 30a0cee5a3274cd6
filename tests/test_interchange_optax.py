"""Optimizer states in optax's wrappers and over the parameters of flax.nnx and equinox modules, and
what does not pass."""

import numpy as np
import pytest

from bpx import convert
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
nnx = pytest.importorskip("flax.nnx")
eqx = pytest.importorskip("equinox")
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_jax import optim
from bpx_torch import optim as of_torch

T, OPT = torch.nn, torch.optim
rng = np.random.default_rng(2)
X, Y = rng.standard_normal((7, 4)), rng.standard_normal((7, 3))


def network():
    torch.manual_seed(3)
    return T.Sequential(T.Linear(4, 5), T.LayerNorm(5), T.Tanh(), T.Linear(5, 3)).double()


def steps(model, optimizer, count):
    found = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = (model(torch.tensor(X)) - torch.tensor(Y)).square().mean()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def trained(kind=OPT.AdamW, count=5, **options):
    model = network()
    optimizer = kind(model.parameters(), **{"lr": 0.01, **options})
    return model, optimizer, steps(model, optimizer, count)


def in_nnx(run):
    """20 steps of nnx.Optimizer on the run's model: losses, weights and state after them."""
    options = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    module = nnx.Sequential(
        nnx.Linear(4, 5, **options),
        nnx.LayerNorm(5, epsilon=1e-5, use_fast_variance=False, **options),
        jnp.tanh,
        nnx.Linear(5, 3, **options),
    )
    ji.to_nnx(run.weights, module)
    optimizer = nnx.Optimizer(module, ji.transformation(run.optimizer), wrt=nnx.Param)
    structure = run.weights.structure
    where = {"layout": "nnx", "model": module}
    optimizer.opt_state = nnx.data(
        ji.to_optax(run.optimizer, optimizer.opt_state, structure, **where)
    )

    @nnx.jit
    def step(module, optimizer):
        value, grads = nnx.value_and_grad(lambda m: jnp.square(m(X) - Y).mean())(module)
        optimizer.update(module, grads)
        return value

    found = [float(step(module, optimizer)) for _ in range(20)]
    state = ji.from_optax(optimizer.opt_state, run.optimizer, structure, **where)
    return found, ji.from_nnx(module, structure), state


def in_equinox(run):
    """The same with an equinox module."""
    nn, key = eqx.nn, jax.random.key(0)
    model = nn.Sequential(
        [nn.Linear(4, 5, key=key), nn.LayerNorm(5), nn.Lambda(jnp.tanh), nn.Linear(5, 3, key=key)]
    )
    model, _ = ji.to_equinox(run.weights, model)
    tx, structure = ji.transformation(run.optimizer), run.weights.structure
    state = ji.to_optax(
        run.optimizer,
        tx.init(eqx.filter(model, eqx.is_inexact_array)),
        structure,
        layout="equinox",
    )

    @eqx.filter_jit
    def step(model, state):
        def f(model):
            return jnp.square(jax.vmap(model)(X) - Y).mean()

        value, grads = eqx.filter_value_and_grad(f)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return value, eqx.apply_updates(model, updates), state

    found = []
    for _ in range(20):
        value, model, state = step(model, state)
        found.append(float(value))
    held = ji.from_optax(state, run.optimizer, structure, layout="equinox")
    return found, ji.from_equinox(model, structure), held


@pytest.mark.parametrize("library", [in_nnx, in_equinox])
def test_run_goes_on_in_the_library_and_back(library):
    _, _, want = trained(count=30)
    model, optimizer, got = trained()
    run = convert.Run(ti.weights(model), ti.optimizer_state(optimizer, model), 5)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        more, weights, state = library(run)
    model, optimizer, _ = trained(count=0)
    ti.load_weights(model, weights)
    ti.load_optimizer_state(optimizer, model, state)
    got += more + steps(model, optimizer, 5)
    assert want[5] - want[25] > 1e-2
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


def wrappers():
    mask = {n: {"weight": True, "bias": False} for n in ("0", "1", "3")}
    yield "optax", optax.adamw(0.01)
    yield "a chain", optax.chain(optax.clip_by_global_norm(1.0), optim.adamw(0.01))
    yield "a named chain", optax.named_chain(("clip", optax.clip(1.0)), ("adam", optax.adam(0.1)))
    yield "a masked decay", optax.adamw(0.01, mask=mask)
    yield "schedules", optim.adamw(lambda t: 0.01, weight_decay=lambda t: 0.1)
    yield "injected", optax.inject_hyperparams(optax.adamw)(lambda t: 0.01)
    yield "a whole mask", optax.masked(optax.adam(0.01), {n: True for n in mask})


@pytest.mark.parametrize(("name", "tx"), [*wrappers()])
def test_state_in_wrappers(name, tx):
    model, optimizer, _ = trained()
    held = ti.optimizer_state(optimizer, model)
    weights = ti.weights(model)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        params, _ = ji.to_plain(weights)
        before = tx.init(params)
        state = ji.to_optax(held, before, weights.structure)
        assert jax.tree.structure(state) == jax.tree.structure(before)
        paths = jax.tree_util.tree_flatten_with_path(state)[0]
        counts = [int(a) for path, a in paths if str(path[-1]) in (".count", "GetAttrKey('count')")]
        tx.update(params, state, params)
    assert counts
    assert set(counts) == {5}
    back = ji.from_optax(state, held, weights.structure)
    assert back.steps == held.steps
    for key, arrays in held.slots.items():
        for n, a in arrays.items():
            assert back.slots[key][n].tobytes() == a.tobytes(), (key, n)


REFUSED = {
    "sgd: dampening is 1.0, expected another": (OPT.SGD, {"momentum": 0.9, "dampening": 1.0}),
    "adagrad: lr_decay is 0.1, expected 0": (
        of_torch.Adagrad,
        {"lr_decay": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    r"lamb: phi is \[0.5, 3.0\], expected None": (of_torch.LAMB, {"phi": (0.5, 3.0)}),
    "lars: norm_of_sum is False with weight_decay": (of_torch.LARS, {"weight_decay": 0.1}),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_options_that_optax_lacks(sentence):
    kind, options = REFUSED[sentence]
    model, optimizer, _ = trained(kind, 2, **options)
    held = ti.optimizer_state(optimizer, model)
    fresh = optim.adam(0.1).init(ji.to_plain(ti.weights(model))[0])
    for call in (
        lambda: ji.transformation(held),
        lambda: ji.to_optax(held, fresh, ti.structure(model), 2),
    ):
        with pytest.raises(SpecError, match=sentence):
            call()


@pytest.mark.parametrize("name", [n for n in convert.REFUSED if hasattr(OPT, n)])
def test_methods_that_do_not_pass(name):
    model = T.Linear(2, 2, bias=False)
    optimizer = getattr(OPT, name)(model.parameters())
    with pytest.raises(SpecError, match=f"{name}: its state does not pass to optax"):
        ti.optimizer_state(optimizer, model)


def test_every_optimizer_of_torch_is_in_a_table():
    names = [n for n in dir(OPT) if n[0].isupper() and n != "Optimizer"]
    assert set(names) <= {*convert.METHODS, *convert.REFUSED}


def test_groups_counts_and_parameters():
    model, optimizer, _ = trained()
    structure = ti.structure(model)
    params = ji.to_plain(ti.weights(model))[0]
    held = ti.optimizer_state(optimizer, model)
    fresh = optim.adamw(0.1).init(params)
    optimizer.state[model[0].weight]["step"] += 1
    with pytest.raises(SpecError, match=r"at steps \[5, 6\], expected one"):
        ji.to_optax(ti.optimizer_state(optimizer, model), fresh, structure)
    del optimizer.state[model[0].weight]
    with pytest.raises(SpecError, match=r"\['0.weight'\] has no state and others have"):
        ti.optimizer_state(optimizer, model)
    with pytest.raises(SpecError, match="parameter 0 of group 0 is not in the model"):
        ti.optimizer_state(optimizer, network())
    two = OPT.Adam(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters()}]
    )
    with pytest.raises(SpecError, match="structure is None, expected that of the model"):
        ji.transformation(ti.optimizer_state(two, model))
    with pytest.raises(SpecError, match="the state holds TraceState"):
        ji.to_optax(held, optim.sgd(0.1, 0.9).init(params), structure)
    with pytest.raises(SpecError, match=r"\['exp_avg', 'exp_avg_sq'\] has no place in the state"):
        ji.to_optax(held, optim.sgd(0.1).init(params), structure)
    with pytest.raises(SpecError, match=r"the steps are \[5\], expected 7"):
        ji.to_optax(held, fresh, structure, 7)
    with pytest.raises(SpecError, match="the state is of AdamW, expected SGD"):
        ti.load_optimizer_state(OPT.SGD(model.parameters()), model, held)


def test_counts_that_one_side_lacks():
    model, optimizer, _ = trained(OPT.SGD, momentum=0.9)
    held, structure = ti.optimizer_state(optimizer, model), ti.structure(model)
    params = ji.to_plain(ti.weights(model))[0]
    fresh = optim.sgd(lambda t: 0.1, 0.9).init(params)
    with pytest.raises(SpecError, match=r"step is None, .* \(ScaleByScheduleState counts them\)"):
        ji.to_optax(held, fresh, structure)
    assert ji.to_optax(held, fresh, structure, 5)[1].count == 5
    model, optimizer, _ = trained(OPT.RMSprop)
    held = ti.optimizer_state(optimizer, model)
    state = ji.to_optax(held, optim.rmsprop(0.1).init(params), structure)
    with pytest.raises(SpecError, match="RMSprop: step is None, expected the number of steps"):
        ji.from_optax(state, held, structure)
    assert set(ji.from_optax(state, held, structure, 5).steps.values()) == {5}
