"""The statistics of bpx_jax.health are NumPy's, in JAX's own operations and in what runs."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx.health import measure
from bpx_jax import _health_measure, _health_vectors
from tests.health_samples import alike as near

RNG = np.random.default_rng(4)
SUMS = {
    "own operations": jax.jit(_health_measure.sums),
    "what runs": lambda x: _health_vectors.tagged(x)[1],
}


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e30])
def test_float32_beyond_its_squares(size):
    x = (RNG.standard_normal((4, 50)) * size).astype(np.float32)
    for sums in SUMS.values():
        near(_health_measure.moments(sums(jnp.asarray(x))), x, 1e-5)
        parts = sum(np.asarray(sums(jnp.asarray(row))) for row in x)
        near(_health_measure.moments(parts), x, 1e-5)
    norms = _health_measure.norm(jnp.asarray(x)), _health_vectors.norms([jnp.asarray(x)])[0]
    assert [float(n) for n in norms] == pytest.approx([np.linalg.norm(x.astype(float))] * 2, 1e-5)


@pytest.mark.parametrize("x", [[], [2.0], 3.0, [[np.nan, 1, np.inf]]], ids=str)
def test_odd_values(x):
    x = np.asarray(x, float)
    want = measure.moments(x)
    for sums in SUMS.values():
        got = _health_measure.moments(sums(jnp.asarray(x)))
        np.testing.assert_equal(
            (got.count, got.mean, got.variance, got.nonfinite),
            (want.count, want.mean, want.variance, want.nonfinite),
        )


def test_twins_are_numpys():
    own = jax.jit(_health_measure.twins)
    w, g = RNG.standard_normal((2, 6, 4))
    pairs = [(w.copy(), g.copy())]
    w[[0, 2, 5]], g[[0, 2, 5]] = w[1], g[1]
    pairs.append((w.copy(), g.copy()))
    g[0] += 1
    pairs += [(w, g), (np.zeros_like(w), g), (np.zeros_like(w), np.zeros_like(w))]
    for a, b in pairs:
        a, b = jnp.asarray(a), jnp.asarray(b)
        got = [float(own(a, b)), float(_health_vectors.parameters([a], [b])[0, -1])]
        assert got == pytest.approx([measure.twins(a, b)] * 2)
    assert own(jnp.ones(3), jnp.ones(3)) is None
