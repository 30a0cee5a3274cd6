"""The states of Adafactor and Muon, which depend on the axes of a parameter: where the means stand
in each layout, 16-bit parameters, and what is refused."""

import copy
import dataclasses

import numpy as np
import pytest

from bpx import convert
from bpx.convert import _factored
from bpx.convert._arrays import widened
from bpx.convert._placed import Placed
from bpx.optimizers.adafactor import axes
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jnp = jax.numpy

import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_torch import optim as of_torch
from tests.test_optimizers_arrays import amplified

T, OPT = torch.nn, torch.optim


def begun(optimizer, model, shape, count=3):
    torch.manual_seed(1)
    dtype = next(model.parameters()).dtype
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(shape).to(dtype)).square().sum().backward()
        optimizer.step()
    return ti.optimizer_state(optimizer, model)


LAYERS = {
    "wide": (lambda: T.Linear(5, 3), (2, 5)),
    "tall": (lambda: T.Linear(3, 5), (2, 3)),
    "square": (lambda: T.Linear(4, 4), (2, 4)),
    "one row": (lambda: T.Linear(4, 1), (2, 4)),
    "convolution": (lambda: T.Conv2d(5, 7, (2, 3)), (2, 5, 4, 4)),
    "turned round": (lambda: T.ConvTranspose2d(5, 7, (2, 3)), (2, 5, 4, 4)),
    "small field": (lambda: T.Conv1d(6, 5, 1), (2, 6, 4)),
}
OPTAX = {"profile": "optax", "min_dim_size_to_factor": 1}


@pytest.mark.parametrize("layout", ["plain", "nnx", "equinox"])
@pytest.mark.parametrize("name", LAYERS)
def test_means_are_those_of_the_layouts_own_axes(name, layout):
    """Of squares that the layout's own parameter would have seen: one step of a running mean."""
    make, shape = LAYERS[name]
    model = make().double()
    # equinox keeps the bias of a convolution as a column: factored from a size of 1 on
    given = {**OPTAX, "min_dim_size_to_factor": 1 + (layout == "equinox")}
    optimizer = of_torch.Adafactor(model.parameters(), lr=0.0, eps=(0.0, 1e-3), **given)
    held = begun(optimizer, model, shape, 1)
    placed = Placed(ti.structure(model), layout)
    squares = {n: p.grad.square().numpy() for n, p in model.named_parameters()}
    found = _factored.to_factored(held.slots, held.by_name(), placed)
    for there, square in placed.to(squares).items():
        pair = axes(square.shape, {"factored": True, "largest_axes": True, **given})
        if pair is None:
            np.testing.assert_allclose(found["variance"][there], square, rtol=1e-14)
            continue
        for key, axis in zip(("row_var", "col_var"), pair[::-1], strict=True):
            np.testing.assert_allclose(found[key][there], square.mean(axis), rtol=1e-13)
    back = _factored.from_factored(found, held.by_name(), placed)
    assert back.keys() == held.slots.keys()
    for key, arrays in held.slots.items():
        for n, a in arrays.items():
            np.testing.assert_array_equal(back[key][n], a)


def test_axes_that_another_layout_has_not_are_refused():
    """torch's means of a convolution are along its field, which comes first in flax.nnx."""
    model = T.Conv2d(3, 4, (2, 3)).double()
    held = begun(OPT.Adafactor(model.parameters()), model, (2, 3, 4, 4))
    placed = Placed(ti.structure(model), "nnx")
    says = r"weight: Adafactor's means are along the axes \(2, 3\) of \(4, 3, 2, 3\), and \(2, 3\) "
    with pytest.raises(SpecError, match=says):
        _factored.to_factored(held.slots, held.by_name(), placed)
    _factored.to_factored(held.slots, held.by_name(), Placed(ti.structure(model)))
    held = begun(of_torch.Adafactor(model.parameters(), **OPTAX), model, (2, 3, 4, 4))
    with pytest.raises(SpecError, match=r"bias: .* None of \(4,\), and \(2, 0\) of \(4, 1, 1\) in"):
        _factored.to_factored(held.slots, held.by_name(), Placed(ti.structure(model), "equinox"))
    model = T.MultiheadAttention(4, 2).double()
    structure = ti.structure(model)
    for kind in (OPT.Adafactor, of_torch.Adafactor):
        fresh = ti.optimizer_state(kind(model.parameters()), model)
        full = {
            k: {n: np.ones(s[k]) for n in structure.parameters()
                if k in (s := _factored.shapes(structure.arrays[n].shape, {}))}
            for k in _factored.KEYS
        }  # fmt: skip
        with pytest.raises(SpecError, match="in_proj_weight: 1 array here, 3 there"):
            _factored.to_factored(full, fresh.by_name(), Placed(structure, "nnx"))


def test_optaxs_own_tuple_is_not_for_torchs_means():
    model = T.Linear(3, 4).double()
    held = begun(OPT.Adafactor(model.parameters()), model, (2, 3))
    structure, params = ti.structure(model), ji.to_plain(ti.weights(model))[0]
    with pytest.raises(SpecError, match="holds optax's FactoredState, expected bpx_jax's"):
        ji.to_optax(held, optax.adafactor(0.1).init(params), structure)
    of_optax = of_torch.Adafactor(model.parameters(), **OPTAX)
    held = begun(of_optax, model, (2, 3))
    with pytest.raises(SpecError, match=r"row_var: weight is float64 \(3,\), expected float64 \("):
        ji.to_optax(held, optax.adafactor(0.1).init(params), structure)
    state = ji.to_optax(held, optax.adafactor(0.1, 1).init(params), structure)
    assert int(state[0].count) == 3
    wrong = ti.optimizer_state(of_torch.Adafactor(model.parameters(), profile="optax"), model)
    with pytest.raises(SpecError, match=r"variance of weight has shape \(1,\), expected \(4, 3\)"):
        ji.from_optax(state, wrong, structure)


def test_a_step_of_torchs_muon_is_apart_by_bfloat16():
    """In which it iterates; JAX does in float32."""
    model = T.Linear(3, 4, bias=False)
    held = begun(OPT.Muon(model.parameters()), model, (2, 3))
    structure, params = ti.structure(model), ji.to_plain(ti.weights(model))[0]
    tx = ji.transformation(held, structure)
    state = ji.to_optax(held, tx.init(params), structure, 3)
    group, momentum = held.groups[0].options, held.slots["momentum_buffer"]["weight"]
    twin = copy.deepcopy(model)
    optimizer = OPT.Muon(twin.parameters())
    ti.load_optimizer_state(optimizer, twin, held)
    g = np.linspace(-1, 2, 12).reshape(4, 3).astype(np.float32)
    twin.weight.grad = torch.tensor(g)
    optimizer.step()
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = tx.update({"weight": jnp.asarray(g)}, state, params)
    moved = np.asarray(params["weight"] + updates["weight"], float)
    keep = group["momentum"]
    x = (1 - keep) * g + keep * (keep * momentum + (1 - keep) * g)
    size = group["lr"] * (4 / 3) ** 0.5
    error = np.linalg.norm(moved - twin.weight.detach().numpy()) / size
    bound = amplified(x.astype(float), 2.0**-8)
    assert 1e-4 < error < bound < np.linalg.norm(updates["weight"]) / size


def test_torchs_muon_keeps_its_momentum():
    """torch.optim's iterates in bfloat16, so that its steps are not followed, only its state."""
    model = T.Linear(3, 4, bias=False)
    held = begun(OPT.Muon(model.parameters(), ns_coefficients=(3.0, -4.0, 2.0)), model, (2, 3))
    structure, params = ti.structure(model), ji.to_plain(ti.weights(model))[0]
    tx = ji.transformation(held)
    with pytest.raises(SpecError, match=r"step is None, .* \(MuonState counts them\)"):
        ji.to_optax(held, tx.init(params), structure)
    state = ji.to_optax(held, tx.init(params), structure, 3)
    moments = state.inner_states["muon"].inner_state[0]
    np.testing.assert_allclose(moments.ns_coeffs, (3.0, -4.0, 2.0))
    back = ji.from_optax(state, held, structure)
    assert dict(back.steps) == {}
    a, b = (one.slots["momentum_buffer"]["weight"] for one in (back, held))
    assert a.tobytes() == b.tobytes()
    target = OPT.Muon(model.parameters())
    ti.load_optimizer_state(target, model, back)
    assert target.param_groups[0]["ns_coefficients"] == (3.0, -4.0, 2.0)


BFLOAT16 = {
    "AdamW": lambda ps: of_torch.AdamW(ps, lr=1e-2),
    "Adafactor": lambda ps: of_torch.Adafactor(ps, lr=1e-2),
    "Adafactor of optax": lambda ps: of_torch.Adafactor(ps, lr=1e-2, momentum=0.5, **OPTAX),
    "Muon": lambda ps: of_torch.Muon(ps, lr=1e-2),
}


@pytest.mark.parametrize("name", BFLOAT16)
def test_bfloat16_parameters_keep_float32_states(name):
    model = T.Linear(6, 4, bias=False).bfloat16()
    optimizer = BFLOAT16[name](model.parameters())
    optimizer.ns_dtype = torch.float32  # Muon's iteration, as in JAX
    held = begun(optimizer, model, (5, 6))
    weights = ti.weights(model)
    assert {a.dtype.name for s in held.slots.values() for a in s.values()} == {"float32"}
    params = ji.to_plain(weights)[0]
    tx = ji.transformation(held, weights.structure)
    state = ji.to_optax(held, tx.init(params), weights.structure, 3)
    back = ji.from_optax(state, held, weights.structure, 3)
    for key, arrays in held.slots.items():
        assert back.slots[key]["weight"].tobytes() == arrays["weight"].tobytes()
    torch.manual_seed(2)
    g = torch.randn(4, 6).bfloat16()
    model.weight.grad = g
    optimizer.step()
    grads = {"weight": jnp.asarray(g.float().numpy()).astype(jnp.bfloat16)}
    updates, state = tx.update(grads, state, params)
    moved = (params["weight"] + updates["weight"]).astype(jnp.float32)
    after = ti.optimizer_state(optimizer, model)
    for key, arrays in ji.from_optax(state, held, weights.structure, 4).slots.items():
        np.testing.assert_allclose(arrays["weight"], after.slots[key]["weight"], rtol=1e-5)
    # an update and its sum are rounded apart in optax, at once in torch: two roundings
    want = widened(ti.weights(model).arrays["weight"])
    size = np.abs(np.asarray(updates["weight"], float)).max()
    np.testing.assert_allclose(moved, want, rtol=2.0**-7, atol=2.0**-8 * size)
    assert np.abs(want - widened(weights.arrays["weight"])).max() > 2e-3


def held_by_file(tmp_path):
    model = T.Sequential(T.Linear(3, 4), T.Conv2d(1, 2, 2)).double()
    optimizer = OPT.Adafactor(model.parameters(), lr=0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    return convert.Run(ti.weights(model), ti.optimizer_state(optimizer, model), 1), tmp_path / "a"


@pytest.mark.parametrize("layout", ["torch", *convert.LAYOUTS])
def test_files_keep_the_means(layout, tmp_path):
    run, path = held_by_file(tmp_path)
    convert.save(path, run, layout)
    for key, arrays in convert.load(path).optimizer.slots.items():
        for n, a in arrays.items():
            np.testing.assert_array_equal(a, run.optimizer.slots[key][n])


WRONG = {
    "row_var of 0.weight has shape": ("row_var", "0.weight", lambda a: a.T.copy()),
    "variance: 0.bias is missing": ("variance", "0.bias", None),
    "row_var is missing": ("row_var", None, None),
    "col_var of 1.weight has dtype int64": ("col_var", "1.weight", lambda a: a.astype(np.int64)),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_files_with_other_means_are_refused(sentence, tmp_path):
    run, path = held_by_file(tmp_path)
    key, name, change = WRONG[sentence]
    slots = {k: dict(s) for k, s in run.optimizer.slots.items()}
    if name is None:
        del slots[key]
    elif change is None:
        del slots[key][name]
    else:
        slots[key][name] = change(slots[key][name])
    held = dataclasses.replace(run.optimizer, slots=slots)
    convert.save(path, dataclasses.replace(run, optimizer=held))
    with pytest.raises(SpecError, match=sentence):
        convert.load(path)
