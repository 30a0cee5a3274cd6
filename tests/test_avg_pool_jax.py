"""avg_pool's two ways in JAX on the CPU: XLA's loop over few windows side by side, and the core."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

from bpx_jax.kernels.cpu import avg_pool
from bpx_jax.layers.avg_pool import RULE

SIDE_BY_SIDE = {
    "a line": ((2, 3, 12), {"kernel_size": 4}),
    "an image": ((2, 3, 6, 4), {"kernel_size": (3, 2), "divisor_override": 5}),
    "a volume": ((1, 2, 4, 6, 2), {"kernel_size": (2, 3, 1)}),
}


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_both_ways_give_the_same(name, monkeypatch):
    if (reason := avg_pool.refuses((jnp.ones((2, 3, 4)),), {})) is not None:
        pytest.skip(reason)
    shape, options = SIDE_BY_SIDE[name]
    rng = np.random.default_rng(len(name))
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    calls = []
    for way in ("means", "means_backward"):
        core = getattr(avg_pool._pool_call, way)
        spy = lambda *a, core=core: calls.append(a) or core(*a)  # noqa: E731
        monkeypatch.setattr(avg_pool._pool_call, way, spy)

    def both(many):
        monkeypatch.setattr(avg_pool, "MANY", many)
        y, _ = RULE.forward(x, kernel="cpu", **options)
        dy = jnp.asarray(np.random.default_rng(0).normal(size=y.shape), jnp.float32)
        return y, RULE.backward(dy, (x,), (), kernel="cpu", **options)[0]

    by_core = both(x.size + 1)
    assert len(calls) == 2
    by_loop = both(x.size)
    assert len(calls) == 2
    for got, want in zip(by_loop, by_core, strict=True):
        assert np.abs(got - want).max() <= 8 * 2.0**-24 * np.abs(x).max()
