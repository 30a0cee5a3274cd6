"""The native core's statistics for bpx_jax.health beside those in JAX's own operations."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import _health_measure as measure
from bpx_jax.kernels.cpu import _ffi

pytestmark = pytest.mark.skipif(_ffi.available() is not None, reason="no native library")


def both(monkeypatch, function, *args):
    """By the core, and without it."""
    jax.clear_caches()
    found = jax.tree.map(np.asarray, function(*args))
    with monkeypatch.context() as patch:
        patch.setattr(_ffi, "refuses", lambda arrays: "asked not to")
        jax.clear_caches()
        plain = jax.tree.map(np.asarray, function(*args))
    jax.clear_caches()
    return found, plain


ARRAYS = {
    "plain": lambda r: r.normal(size=(37, 11)) + 0.4,
    "chunks": lambda r: r.normal(size=(301, 200)),
    "far": lambda r: 1e5 + r.normal(size=500),
    "large": lambda r: 1e30 * r.normal(size=(9, 9)),
    "small": lambda r: 1e-30 * r.normal(size=(9, 9)),
    "zero": lambda r: np.zeros((3, 4)),
    "one": lambda r: np.array([2.5]),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_sums_and_norm(name, monkeypatch):
    x = jnp.asarray(ARRAYS[name](np.random.default_rng(3)), jnp.float32)
    found, plain = both(monkeypatch, lambda x: (measure.sums(x, "tanh"), measure.norm(x)), x)
    wide = np.asarray(x, np.float64)
    for sums in (found[0], plain[0]):
        m = measure.moments(sums)
        np.testing.assert_allclose(m.mean, wide.mean(), rtol=1e-5, atol=1e-6 * abs(wide).max())
        # the mean in float32 is off by a part of 2^24 of itself, and so is every deviation
        slack = (2.0**-22 * abs(wide).max()) ** 2
        np.testing.assert_allclose(m.variance, wide.var(), rtol=1e-4, atol=slack)
    np.testing.assert_allclose(found[0][-1], plain[0][-1])
    for norm in (found[1], plain[1]):
        np.testing.assert_allclose(norm, np.sqrt((wide**2).sum()), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_what_is_not_finite_is_counted(dtype, monkeypatch):
    x = jnp.asarray([1.0, np.nan, 3.0, -np.inf, 5.0, np.inf], dtype)
    (sums, norm), plain = both(monkeypatch, lambda x: (measure.sums(x), measure.norm(x)), x)
    np.testing.assert_allclose(sums, plain[0], rtol=1e-6)
    assert sums[2] == 3
    assert sums[3] == 9
    assert np.isnan(norm)
    assert np.isnan(plain[1])


def test_under_vmap(monkeypatch):
    x = jnp.asarray(np.random.default_rng(4).normal(size=(3, 8, 5)), jnp.float32)
    found, plain = both(monkeypatch, jax.vmap(measure.sums), x)
    assert found.shape == (3, 9)
    np.testing.assert_allclose(found, plain, rtol=1e-5)


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
    want = [0] + [2 / 13, 2 / 13, 0] * 2
    for i, (a, b) in enumerate(cases):
        a, b = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
        found, plain = both(monkeypatch, measure.twins, a, b)
        assert found == plain
        if i < len(want):
            assert found == pytest.approx(want[i])
