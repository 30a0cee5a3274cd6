"""Each layer that torch, flax.nnx and equinox have: y is torch's with torch's weights, and the
weights come back bit by bit, in both directions and in every layout."""

import contextlib
import functools

import numpy as np
import pytest

from bpx import convert
from bpx.convert._arrays import BFLOAT16, added, rounded, widened
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
nnx = pytest.importorskip("flax.nnx")
pytest.importorskip("equinox")
jnp = jax.numpy


import bpx_jax.interchange as ji
import bpx_torch.interchange as ti
from bpx_jax import _interchange_nnx as side_of_nnx
from tests import interchange_layers

pytestmark = pytest.mark.slow

T = torch.nn
LAYERS = interchange_layers.LAYERS
rng = np.random.default_rng(11)


def first(y):
    return y[0] if isinstance(y, tuple) else y


@contextlib.contextmanager
def relaxed():
    """JAX's defaults: the libraries' own layers do not run under strict promotion."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def of_torch(make, side):
    """The layer in float64 with generic numbers; biases that no cell has are 0."""
    module = make().double().eval()
    with torch.no_grad():
        for name, a in module.state_dict().items():
            if a.is_floating_point():
                a.copy_(torch.tensor(rng.uniform(0.5, 2, a.shape)))
                if side == "nnx" and isinstance(module, T.GRU) and name.startswith("bias_hh"):
                    a[6:] = 0
    return module


def called(module, shape):
    x = rng.integers(0, 7, (2, 4)) if shape is None else rng.standard_normal(shape)
    given = torch.tensor(x)
    args = (given,) * (3 if isinstance(module, T.MultiheadAttention) else 1)
    with torch.no_grad():
        return jnp.asarray(x), first(module(*args)).numpy()


def bits(got, want, but=()):
    assert set(want) - set(but) == set(got) - set(but)
    for name in set(got) - set(but):
        assert got[name].dtype == want[name].dtype, name
        assert got[name].tobytes() == want[name].tobytes(), name


def merged(module):
    """The biases that a cell keeps as one sum."""
    return [n for n, _ in module.named_parameters() if n.startswith("bias_")]


SIDES = [(n, side) for n, row in LAYERS.items() for side, at in (("nnx", 2), ("equinox", 3))]
SIDES = [(n, side) for n, side in SIDES if LAYERS[n][2 if side == "nnx" else 3] is not None]


@pytest.mark.parametrize(("name", "side"), SIDES)
def test_forward_and_round_trip(name, side):
    make, shape, *others = LAYERS[name]
    theirs, call = others[side == "equinox"]
    module = of_torch(make, side)
    weights = ti.weights(module)
    x, want = called(module, shape)
    with relaxed():
        other = theirs()
        if side == "nnx":
            ji.to_nnx(weights, other)
            back = ji.from_nnx(other, weights.structure)
        else:
            pair = other if isinstance(other, tuple) else (other, None)
            pair = ji.to_equinox(weights, *pair)
            other = pair if isinstance(other, tuple) else pair[0]
            back = ji.from_equinox(pair[0], weights.structure, pair[1])
        got = call(other, x)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    bits(back.arrays, weights.arrays, (*merged(module), "num_batches_tracked"))
    ti.load_weights(module, back)  # and the way from there to torch and back again
    assert called(module, shape)[1].shape == want.shape
    again = ti.weights(module)
    bits(again.arrays, back.arrays, ("num_batches_tracked",))
    forms = side_of_nnx.forms_of(weights.structure, other) if side == "nnx" else {}
    there = [
        convert.to_layout(side, w.arrays, weights.structure, forms=forms) for w in (weights, again)
    ]
    bits(*there)
    params, state = ji.to_plain(again)
    bits(
        ji.from_plain(params, state, again.structure).arrays, again.arrays, ("num_batches_tracked",)
    )


@pytest.mark.parametrize("layout", ["plain", "nnx", "equinox"])
def test_bfloat16_keeps_its_bits(layout):
    module = T.Sequential(T.Linear(3, 4), T.Conv1d(4, 2, 3), T.BatchNorm1d(2)).bfloat16()
    weights = ti.weights(module)
    there = convert.to_layout(layout, weights.arrays, weights.structure)
    back = convert.from_layout(layout, there, weights.structure)
    bits(back, weights.arrays, ("2.num_batches_tracked",))
    fresh = T.Sequential(T.Linear(3, 4), T.Conv1d(4, 2, 3), T.BatchNorm1d(2)).bfloat16()
    ti.load_weights(fresh, convert.Weights(weights.structure, back))
    for a, b in zip(module.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)
    params, _ = ji.to_plain(weights)
    assert params["0"]["weight"].dtype == jnp.bfloat16
    np.testing.assert_array_equal(
        params["1"]["weight"].astype(jnp.float32), module[1].weight.float().detach().numpy()
    )


def test_sum_of_bfloat16_biases_is_rounded_once():
    """Against torch's sum in float64: bits, on values whose float32 sum is a tie."""
    a = torch.tensor([1.0, 1.0, -1.0, 3.0, 1.5, 1e-30, float("inf")]).bfloat16()
    b = torch.tensor([2.0**-8, 2.0**-8 + 2.0**-15, 2.0**-9, 2.0**-40, 0.25, 1.0, 1.0]).bfloat16()
    got = ti._tensor(added(ti._numpy("a", a), ti._numpy("b", b)))
    want = (a.double() + b.double()).to(torch.bfloat16)
    assert torch.equal(got[[0, 1, 2, 4, 5, 6]], want[[0, 1, 2, 4, 5, 6]])
    assert got[3] == 3


def test_state_of_two_biases_and_of_cut_arrays():
    model = T.LSTM(2, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 2))[0].sum().backward()
    optimizer.step()
    held, structure = ti.optimizer_state(optimizer, model), ti.structure(model)
    packed = ti.weights(T.MultiheadAttention(4, 2))
    with pytest.raises(SpecError, match="in_proj_weight: 1 array here, 3 there, expected one"):
        convert.to_layout("nnx", packed.arrays, packed.structure, whole=True)
    for layout in ("nnx", "equinox"):
        with pytest.raises(SpecError, match=r"bias_ih_l0: torch has two biases where .* their sum"):
            convert.to_layout(layout, held.slots["exp_avg"], structure, moved_only=True)


def test_rounding_to_bfloat16_is_done_once():
    """Values that float32 rounds to a tie, which goes the other way from there."""
    one, eps, tiny = 1.0, 2.0**-7, 2.0**-40
    values = [one + eps / 2 + tiny, one + eps / 2 - tiny, one + eps / 2, one + 1.5 * eps]
    values += [one + 1.5 * eps - tiny, -one - eps / 2 - tiny, 3e38, 3.4e38]
    want = [one + eps, one, one, one + 2 * eps, one + eps, -one - eps, 3e38, np.inf]
    got = widened(rounded(np.array(values), BFLOAT16))
    np.testing.assert_array_equal(got[[0, 1, 2, 3, 4, 5, 7]], [*want[:6], want[7]])
    assert abs(got[6] - want[6]) <= want[6] * eps / 2


def test_64_bits_where_jax_has_them_off():
    with jax.enable_x64(False), pytest.raises(SpecError, match="jax_enable_x64 is off"):
        ji.to_plain(ti.weights(T.Linear(2, 2).double()))


def test_arrays_of_a_weights_are_checked():
    weights = ti.weights(T.Linear(2, 3))
    for change, sentence in (
        ({"more": np.zeros(2)}, "more is not expected"),
        ({"bias": np.zeros(3)}, r"bias is F64 \(3,\), expected F32 \(3,\)"),
        ({"bias": np.zeros(2, "f4")}, r"bias is F32 \(2,\), expected F32 \(3,\)"),
    ):
        with pytest.raises(SpecError, match=sentence):
            convert.Weights(weights.structure, {**weights.arrays, **change})
    with pytest.raises(SpecError, match="weight is missing"):
        convert.Weights(weights.structure, {"bias": weights.arrays["bias"]})


class Parts(T.Module):
    """Lists, a Sequential in a Sequential, a parameter of its own and two names for one."""

    def __init__(self):
        super().__init__()
        self.body = T.Sequential(T.Linear(2, 2), T.Sequential(T.Linear(2, 3), T.Tanh()))
        self.rows = T.ModuleList([T.Linear(2, 4)])
        self.own = T.Parameter(torch.randn(2, 5))
        self.again = self.body[0]


class Named(nnx.Module):
    def __init__(self):
        linear = functools.partial(nnx.Linear, rngs=nnx.Rngs(0))
        self.body = nnx.Sequential(linear(2, 2), nnx.Sequential(linear(2, 3), jnp.tanh))
        self.heads = nnx.List([linear(2, 4)])
        self.own = nnx.Param(jnp.zeros((2, 5), jnp.float32))
        self.first = self.body.layers[0]


@pytest.mark.parametrize("layout", ["nnx", "equinox"])
def test_paths(layout):
    model = Parts()
    weights = ti.weights(model)
    assert dict(weights.structure.tied) == {f"again.{n}": f"body.0.{n}" for n in ("weight", "bias")}
    names = {"rows": "heads", "again": "first"}
    there = convert.to_layout(layout, weights.arrays, weights.structure, names)
    last = "kernel" if layout == "nnx" else "weight"
    paths = ("body.layers.0", "body.layers.1.layers.0", "heads.0")
    assert set(there) == {"own", *(f"{p}.{n}" for p in paths for n in (last, "bias"))}
    bits(convert.from_layout(layout, there, weights.structure, names), weights.arrays)
    with pytest.raises(SpecError, match=r"heads.0.bias, heads.0.[a-z]* are not expected"):
        convert.from_layout(layout, there, weights.structure)


def test_shared_module_of_nnx():
    model, module = Parts(), Named()
    weights = ti.weights(model)
    names = {"rows": "heads", "again": "first"}
    ji.to_nnx(weights, module, names)
    assert module.first is module.body.layers[0]
    np.testing.assert_array_equal(module.first.kernel[...], model.again.weight.detach().numpy().T)
    bits(ji.from_nnx(module, weights.structure, names).arrays, weights.arrays)
