"""bpx_torch.init and bpx_jax.initializers stand in for torch.nn.init and jax.nn.initializers."""

import inspect
import math

import numpy as np
import pytest

from bpx.initializers import sample
from bpx.spec import SpecError

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")

from bpx_jax import initializers as face_jax
from bpx_torch import init as face_torch


def parameters(function):
    """(name, kind, default) of each argument."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found]


def functions(module, origin):
    """The public functions that a module defines."""
    found = {n: f for n, f in vars(module).items() if callable(f) and not n.startswith("_")}
    return {n: f for n, f in found.items() if getattr(f, "__module__", "").startswith(origin)}


OF_TORCH = functions(torch.nn.init, "torch.nn.init")
OF_JAX = functions(jax.nn.initializers, "jax")


MORE_TORCH = {"delta_orthogonal_"}


def test_every_name_is_there_or_a_gap():
    assert set(OF_TORCH) == set(face_torch.__all__) - MORE_TORCH | set(face_torch.GAPS)
    assert not set(face_torch.__all__) & set(face_torch.GAPS)
    extra = {"INITIALIZERS", "axes_of", "identity", "dirac", "sparse"}
    assert set(OF_JAX) == set(face_jax.__all__) - extra | set(face_jax.GAPS)
    assert not set(face_jax.__all__) & set(face_jax.GAPS)
    assert all(hasattr(face_torch, n) for n in face_torch.__all__)


@pytest.mark.parametrize("name", sorted(set(face_torch.__all__) - MORE_TORCH))
def test_torch_signature(name):
    own = parameters(getattr(face_torch, name))
    want = parameters(OF_TORCH[name])
    assert own[: len(want)] == want
    added = ["key"] * ("generator" in str(want))
    added += ["layout"] * name.startswith(("xavier", "kaiming"))
    assert own[len(want) :] == [(n, inspect.Parameter.KEYWORD_ONLY, None) for n in added]


@pytest.mark.parametrize("name", sorted(set(face_jax.__all__) & set(OF_JAX)))
def test_jax_signature(name):
    own, want = getattr(face_jax, name), OF_JAX[name]
    assert parameters(own) == parameters(want)
    if name not in ("zeros", "ones"):
        arguments = {"value": 0.5, "scale": 1.3, "mode": "fan_in", "distribution": "normal"}
        given = {n: arguments[n] for n, _, d in parameters(want) if d is inspect.Parameter.empty}
        assert parameters(own(**given)) == parameters(want(**given))


RANDOM = ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_")
KAIMING = ("kaiming_uniform_", "kaiming_normal_")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((n, {}) for n in (*RANDOM, *KAIMING)),
        ("uniform_", {"a": -0.3, "b": 2.0}),
        ("normal_", {"mean": 0.4, "std": 0.02}),
        ("trunc_normal_", {"mean": 0.2, "std": 0.5, "a": -0.5, "b": 0.6}),
        ("xavier_uniform_", {"gain": 1.7}),
        *((n, {"a": math.sqrt(5), "mode": "fan_out"}) for n in KAIMING),
        *((n, {"nonlinearity": "tanh"}) for n in KAIMING),
    ],
)
def test_torch_has_the_same_spread(name, options):
    """Spread and bounds of torch's own draws, which are other numbers."""
    w = torch.empty(90, 60, 3, 5, dtype=torch.float64)
    own = getattr(face_torch, name)(w, **options).clone()
    want = OF_TORCH[name](w, **options)
    near = 8 * want.std() / math.sqrt(want.numel())
    assert abs(own.mean() - want.mean()) < near
    assert abs(own.std() - want.std()) < near
    if "normal" not in name or "trunc" in name:
        assert torch.allclose(own.aminmax()[0], want.aminmax()[0], atol=2e-3)
        assert torch.allclose(own.aminmax()[1], want.aminmax()[1], atol=2e-3)


JAX_CASES = [
    ("uniform", (), {}),
    ("normal", (), {}),
    ("truncated_normal", (), {"lower": -1.0, "upper": 0.5}),
    ("variance_scaling", (1.3, "fan_geo_avg", "normal"), {}),
    ("variance_scaling", (1.3, "fan_in", "truncated_normal"), {"out_axis": 0}),
    *((f"{n}_{d}", (), {}) for n in ("glorot", "he", "lecun") for d in ("uniform", "normal")),
    ("he_uniform", (), {"in_axis": 0, "out_axis": (1, 2), "batch_axis": 3}),
]


@pytest.mark.parametrize(("name", "args", "options"), JAX_CASES)
def test_jax_has_the_same_spread(name, args, options):
    """Spread and bounds of JAX's own draws."""
    key, shape = jax.random.key(8), (3, 5, 60, 90)
    own = np.asarray(getattr(face_jax, name)(*args, **options)(key, shape, jnp.float64))
    want = np.asarray(OF_JAX[name](*args, **options)(key, shape, jnp.float64))
    if name == "normal" or "normal" in args or name.endswith("uniform"):
        # the same noise, too: what is left is rounding
        np.testing.assert_allclose(own, want, rtol=1e-11, atol=1e-15)
    near = 8 * want.std() / math.sqrt(want.size)
    assert abs(own.mean() - want.mean()) < near
    assert abs(own.std() - want.std()) < near
    if name != "normal" and "normal" not in args:
        assert own.max() == pytest.approx(want.max(), rel=2e-3)
        assert own.min() == pytest.approx(want.min(), rel=2e-3, abs=1e-5)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.55, 0.9, 1.0])
def test_sparse_has_torchs_count(sparsity):
    for rows, columns in ((100, 7), (3, 20), (1, 4), (0, 3)):
        own = face_torch.sparse_(torch.empty(rows, columns), sparsity, 0.5, key=4)
        want = torch.nn.init.sparse_(torch.empty(rows, columns), sparsity, 0.5)
        assert torch.equal((own == 0).sum(0), (want == 0).sum(0))


@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 3, 5, 5), (2, 3, 5, 2, 4)], ids=str)
def test_delta_orthogonal_has_jaxs_place(shape):
    """The same places are filled as in JAX's own, also where the field is even."""
    own = np.asarray(face_jax.delta_orthogonal(1.7)(jax.random.key(1), shape, jnp.float64))
    want = np.asarray(OF_JAX["delta_orthogonal"](1.7)(jax.random.key(1), shape, jnp.float64))
    assert ((own != 0) == (want != 0)).all()
    assert np.linalg.norm(own) == pytest.approx(np.linalg.norm(want), rel=1e-14)
    moved = torch.from_numpy(np.moveaxis(own, (-1, -2), (0, 1)).copy())
    field = moved.dim() - 2
    by_torch = face_torch.delta_orthogonal_(
        torch.empty(shape, dtype=torch.float64), 1.7, key=1, layout="DHW"[-field:] + "IO"
    )
    assert (by_torch.numpy() == own).all()
    # a circular convolution keeps the length of what it is given
    x = torch.randn(2, moved.shape[1], *[k + 3 for k in moved.shape[2:]], dtype=torch.float64)
    wrapped = x.repeat(1, 1, *[2] * field)
    y = [torch.conv1d, torch.conv2d, torch.conv3d][field - 1](wrapped, moved)
    y = y[(..., *[slice(n) for n in x.shape[2:]])]
    torch.testing.assert_close(y.norm(dim=1).norm(), 1.7 * x.norm())
    with pytest.raises(SpecError, match="column_axis is 2, expected one of"):
        face_jax.delta_orthogonal(column_axis=2)


@pytest.mark.parametrize("name", ["xavier_uniform_", "kaiming_normal_"])
def test_layouts_are_the_same_weights_moved(name):
    fill, shape = getattr(face_torch, name), (9, 4, 3, 5)
    told = fill(torch.empty(shape), key=7, layout="IOHW")
    swapped = fill(torch.empty(shape), key=7)
    fan = {"xavier_uniform_": 1.0, "kaiming_normal_": math.sqrt(4 / 9)}[name]
    torch.testing.assert_close(told, swapped * fan)
    of_jax = {"xavier_uniform_": "glorot_uniform", "kaiming_normal_": "he_uniform"}[name]
    by_axes = getattr(face_jax, of_jax)(**face_jax.axes_of("IOHW"))(jax.random.key(2), shape)
    want = getattr(face_jax, of_jax)(0, 1)(jax.random.key(2), shape)
    assert (by_axes == want).all()


def test_torch_fills_in_place():
    torch.manual_seed(3)
    w = torch.empty(7, 4).t().requires_grad_()  # not contiguous, a leaf
    assert face_torch.normal_(w) is w
    assert w.requires_grad
    assert w.grad_fn is None
    torch.manual_seed(3)
    again = face_torch.normal_(torch.empty(4, 7))
    assert torch.equal(w.detach(), again)
    assert not torch.equal(face_torch.normal_(torch.empty(4, 7)), again)
    g = torch.Generator().manual_seed(5)
    first = face_torch.xavier_uniform_(torch.empty(4, 7), generator=g)
    assert torch.equal(first, face_torch.xavier_uniform_(torch.empty(4, 7), 1.0, g.manual_seed(5)))
    own = face_torch.kaiming_normal_(torch.empty(4, 7, dtype=torch.bfloat16), key=12)
    want = sample("kaiming_normal", 12, (4, 7), jnp.bfloat16)
    assert (own.float().numpy() == want.astype(np.float32)).all()


def test_torch_leaves_nothing_to_fill_alone():
    state = torch.get_rng_state()
    face_torch.constant_(torch.empty(3), 0.4)
    assert torch.equal(torch.get_rng_state(), state)
    assert face_torch.normal_(torch.empty(3, device="meta")).is_meta
    assert face_torch.orthogonal_(torch.empty(0, 3)).shape == (0, 3)
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        face_torch.kaiming_uniform_(torch.empty(0, 3))


def test_orthogonal_has_the_axes_of_each_library():
    w = face_torch.orthogonal_(torch.empty(4, 3, 5, dtype=torch.float64), gain=2).reshape(4, 15)
    torch.testing.assert_close(w @ w.T, 4 * torch.eye(4, dtype=torch.float64))
    for axis in (-1, 0, 1):
        own = np.asarray(face_jax.orthogonal(1.0, axis)(jax.random.key(1), (5, 3, 4)))
        want = np.asarray(OF_JAX["orthogonal"](1.0, axis)(jax.random.key(1), (5, 3, 4)))
        for w in (own, want):
            m = np.moveaxis(w, axis, -1).reshape(-1, w.shape[axis])
            np.testing.assert_allclose(m.T @ m, np.eye(w.shape[axis]), atol=1e-13)


def test_jax_options_and_sharding():
    key, shape = jax.random.key(2), (4, 6)
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), ("x",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    init = face_jax.normal(jnp.float32(0.5), jnp.float32)
    want = np.asarray(init(key, shape))
    assert (want == sample("normal", random_data(key), shape, np.float32, std=0.5)).all()
    placed = init(key, shape, out_sharding=sharding)
    assert placed.sharding == sharding
    assert (np.asarray(placed) == want).all()
    traced = jax.jit(lambda k: init(k, shape, jnp.float32, sharding))(key)
    assert (np.asarray(traced) == want).all()
    row = np.asarray(face_jax.constant(jnp.asarray([0.5, 1.5]))(None, (3, 2)))
    assert (row == [[0.5, 1.5]] * 3).all()
    assert face_jax.ones(None, (2,), jnp.bfloat16).dtype == jnp.bfloat16
    assert not np.asarray(face_jax.zeros(None, (2, 3))).any()


def random_data(key):
    return np.asarray(jax.random.key_data(key))
