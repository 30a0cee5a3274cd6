"""The native core's statistics for bpx_jax.health beside those in JAX's own operations."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx.health import measure as spec
from bpx_jax import _health_measure as measure
from bpx_jax import _health_vectors as vectors
from bpx_jax.kernels.cpu import _ffi

pytestmark = pytest.mark.skipif(_ffi.available() is not None, reason="no native library")


def both(monkeypatch, function, *args):
    """By the core, and without it."""
    jax.clear_caches()
    found = jax.tree.map(np.asarray, function(*args))
    with monkeypatch.context() as patch:
        patch.setattr(_ffi, "elsewhere", lambda: "asked not to")
        jax.clear_caches()
        plain = jax.tree.map(np.asarray, function(*args))
    jax.clear_caches()
    return found, plain


def tagged(*args):
    return vectors.tagged(*args)[1]


ARRAYS = {
    "plain": lambda r: r.normal(size=(37, 11)) + 0.4,
    "chunks": lambda r: r.normal(size=(301, 200)),
    "far": lambda r: 1e5 + r.normal(size=500),
    "large": lambda r: 1e30 * r.normal(size=(9, 9)),
    "small": lambda r: 1e-30 * r.normal(size=(9, 9)),
    "zero": lambda r: np.zeros((3, 4)),
    "one": lambda r: np.array([2.5]),
    "scalar": lambda r: np.array(-3.5),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_sums_and_norm(name, monkeypatch):
    x = jnp.asarray(ARRAYS[name](np.random.default_rng(3)), jnp.float32)
    measured = lambda x: (tagged(x, "tanh"), vectors.norms([x])[0])  # noqa: E731
    found, plain = both(monkeypatch, measured, x)
    wide = np.asarray(x, np.float64)
    for sums in (found[0], plain[0]):
        m = measure.moments(sums)
        np.testing.assert_allclose(m.mean, wide.mean(), rtol=1e-5, atol=1e-6 * abs(wide).max())
        # the mean in float32 is off by a part of 2^24 of itself, and so is every deviation
        slack = (2.0**-22 * abs(wide).max()) ** 2
        np.testing.assert_allclose(m.variance, wide.var(), rtol=1e-4, atol=slack)
    np.testing.assert_allclose(found[0][-1], plain[0][-1])
    assert found[0][-1] == spec.saturated(wide, "tanh") * wide.size
    for norm in (found[1], plain[1]):
        np.testing.assert_allclose(norm, np.sqrt((wide**2).sum()), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_is_not_finite_is_counted(dtype, monkeypatch):
    x = jnp.asarray([1.0, np.nan, 3.0, -np.inf, 5.0, np.inf], dtype)
    function = lambda x: (tagged(x, "sigmoid"), vectors.norms([x])[0])  # noqa: E731
    (sums, norm), plain = both(monkeypatch, function, x)
    np.testing.assert_allclose(sums, plain[0], rtol=1e-6)
    assert (sums[2], sums[3], sums[8]) == (3, 9, 5)  # a NaN is at no bound
    assert np.isnan(norm)
    assert np.isnan(plain[1])
    assert np.isnan(vectors.norms([x[4:]])[0])  # of an infinity alone, too


@pytest.mark.parametrize("value", [1e300, 1e-300])
def test_float64_beyond_float32(value, monkeypatch):
    """It is finite, and not zero, for all that float32 has no room for it."""
    x = jnp.asarray([value, -value / 2], "float64")
    function = lambda x: (tagged(x, "", 0), vectors.norms([x])[0])  # noqa: E731
    (found, _), (plain, _) = measured = both(monkeypatch, function, x)
    np.testing.assert_array_equal(found, plain)
    for sums, norm in measured:
        assert sums[2] == 0
        assert sums[9:].tolist() == [1, 1]
        assert norm == (np.inf if value > 1 else 0)


KINDS = {
    "tanh": lambda r: np.tanh(3 * r.normal(size=(40, 300))),
    "sigmoid": lambda r: 1 / (1 + np.exp(-5 * r.normal(size=(40, 300)))),
    "softmax": lambda r: r.dirichlet(np.full(7, 0.02), size=(40, 60)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_saturated(kind, dtype, monkeypatch):
    y = KINDS[kind](np.random.default_rng(6))
    y[3, 5, ...] = np.nan
    if kind == "softmax":
        y[3, 5, 1] = 1  # a row with a NaN is at no bound
    y[4, 0, ...] = 1
    y = jnp.asarray(y, dtype)
    found, plain = both(monkeypatch, lambda y: tagged(y, kind)[8], y)
    share = spec.saturated(y.astype("float32"), kind)
    assert 0.1 < share < 0.9
    assert found == plain == round(share * y.size)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_alive(axis, dtype, monkeypatch):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(21, 33, 45)) * (rng.random((21, 33, 45)) < 0.01)
    x[1, 2, 3] = np.nan
    x = np.moveaxis(x, 0, 1) if axis == 1 else x
    given = jnp.asarray(x, dtype)
    found, plain = both(monkeypatch, lambda x: tagged(x, "relu", axis), given)
    rest = tuple(i for i in range(3) if i != axis % 3)
    for each in (found, plain):
        np.testing.assert_array_equal(each[9:], (x != 0).sum(rest))


def test_tagged_under_vmap(monkeypatch):
    """Each element is a call of its own, wherever the axis of the batch and of the units is."""
    x = jnp.asarray(np.maximum(np.random.default_rng(4).normal(size=(8, 3, 5)), 0), jnp.float32)
    mapped = jax.vmap(lambda x: tagged(x, "relu", 0), in_axes=1)
    found, plain = both(monkeypatch, mapped, x)
    assert found.shape == (3, 17)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    np.testing.assert_array_equal(found[:, 9:], (np.asarray(x) != 0).sum(2).T)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "float16"])
@pytest.mark.parametrize("size", [1, 40, vectors.THROUGH // 8 + 1])
def test_what_is_tagged_is_handed_on(size, dtype):
    """Bit for bit, whether the call hands it on or not, alone, in a batch, and used beside it."""
    x = jnp.asarray(np.random.default_rng(11).normal(size=(8, size)), dtype).at[0, 0].set(np.nan)
    (same, _), back = jax.jit(lambda x: (vectors.tagged(x, "relu", 1), x[::-1]))(x)
    each, found = jax.jit(jax.vmap(vectors.tagged, out_axes=(1, 0)))(x)
    for got, want in ((same, x), (back, x[::-1]), (each, x.T)):
        assert got.dtype == want.dtype
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()
    assert found[:, 2].tolist() == [1] + [0] * 7


SHAPES = [(13, 5), (), (1,), (0, 3), (3, 0), (2, 3, 4), (1, 1), (1, 6), (6, 1), (1, 5, 1)]
SHAPES.append((90, 110))  # in chunks


def test_parameters_and_norms_of_many_arrays(monkeypatch):
    """One call for each dtype, of scalars, empty arrays and matrices; float16 without the core."""
    rng = np.random.default_rng(8)
    dtypes = ["float32", "bfloat16", "float32", "float16", "float64"] * 3
    weights = [
        jnp.asarray(rng.normal(size=s) + 0.3, d) for s, d in zip(SHAPES, dtypes, strict=False)
    ]
    weights[5] = weights[5].at[1].set(weights[5][0])
    gradients = [w * 2 + 1 for w in weights]
    function = lambda w, g: (vectors.parameters(w, g), vectors.norms(w))  # noqa: E731
    found, plain = both(monkeypatch, function, weights, gradients)
    rows, norms = found
    np.testing.assert_allclose(rows, plain[0], rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(norms, plain[1], rtol=1e-5)
    for row, norm, w, g in zip(rows, norms, weights, gradients, strict=True):
        w, g = np.asarray(w, np.float64), np.asarray(g, np.float64)
        for sums, x in ((row[:9], w), (row[9:18], g)):
            got, want = measure.moments(sums), spec.moments(x)
            assert got.count == want.count
            np.testing.assert_allclose(
                (got.mean, got.variance), (want.mean, want.variance), rtol=2e-4, atol=1e-6
            )
        assert row[18] == pytest.approx(spec.twins(w, g) or 0)
        np.testing.assert_allclose(norm, np.linalg.norm(w), rtol=1e-5)
    assert rows[5, 18] == 1
    alone = both(monkeypatch, lambda w, g: vectors.parameters(w, g), weights[10:], gradients[10:])
    np.testing.assert_array_equal(alone[0][0], rows[10])


def test_parameters_and_norms_under_vmap(monkeypatch):
    rng = np.random.default_rng(9)
    arrays = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((4, 6, 5), (4, 7))]
    mapped = jax.vmap(lambda *a: (vectors.parameters(a, a), vectors.norms(a)))
    found, plain = both(monkeypatch, mapped, *arrays)
    assert found[0].shape == (4, 2, 19)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), found, plain)
    empty = jax.vmap(lambda *a: vectors.norms(a))(*(a[:0] for a in arrays))
    assert empty.shape == (0, 2)


def twins(w, g):
    return vectors.parameters([w], [g])[0, -1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_twins(dtype, monkeypatch):
    rng = np.random.default_rng(5)
    w = rng.normal(size=(13, 21))
    g = rng.normal(size=(13, 21))
    cases = [(w, g)]
    for pair in ((2, 9), (0, 12)):
        a, b = w.copy(), g.copy()
        a[pair[0]], b[pair[0]] = a[pair[1]], b[pair[1]]
        cases += [(a, b), (a.T, b.T), (a, g)]  # equal weights with other gradients are no twins
    few = np.ones((13, 21))  # eight weights in common, and others that are not
    few[:, 8:] = w[:, 8:]
    cases.append((few, g))
    want = [0] + [2 / 13, 2 / 13, 0] * 2 + [0]
    odd = g.copy()
    odd[3, 4], odd[7, 1] = np.nan, np.inf
    cases += [(few, odd), (odd, g), (np.zeros_like(w), odd), (0 * w, 0 * g), (w, 0 * g)]
    cases = [(jnp.asarray(a, dtype), jnp.asarray(b, dtype)) for a, b in cases]
    found, plain = both(monkeypatch, lambda: [twins(a, b) for a, b in cases])
    assert found == plain
    assert found[: len(want)] == pytest.approx(want)


def test_twins_of_units_that_do_not_spread_evenly():
    """One unit far from the others, units in a few heaps, and thousands of them."""
    rng = np.random.default_rng(10)
    far = rng.normal(size=(300, 9))
    far[17] *= 1e4
    heaps = np.round(rng.normal(size=(300, 2))) + 1e-3 * rng.normal(size=(300, 2))
    many = rng.normal(size=(5000, 3))
    for w in (far, heaps, many):
        g = rng.normal(size=w.shape)
        assert twins(jnp.asarray(w), jnp.asarray(g)) == 0
        w[[5, 111, 250]], g[[5, 111, 250]] = w[9], g[9]
        assert twins(jnp.asarray(w), jnp.asarray(g)) == pytest.approx(4 / len(w))
        assert twins(jnp.asarray(w.T), jnp.asarray(g.T)) == pytest.approx(4 / len(w))
