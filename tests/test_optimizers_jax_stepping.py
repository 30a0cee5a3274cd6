"""stepping(tx): update and sum in one, by the native core where that takes an array."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import optim
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.optimizers import _adam_native

SHAPES = ((300, 70), (11,), (), (3, 1, 2))  # the first in more than one chunk
NAMES = {
    "adam": partial(optim.adam, lambda t: 0.1 / (1 + t.astype(float))),
    "adam, eps_root": partial(optim.adam, 0.1, b1=0.7, b2=0.8, eps=1e-3, eps_root=1e-2),
    "adamw": partial(optim.adamw, 0.1, weight_decay=0.3, b1=0.6),
    "adamw, schedules": partial(
        optim.adamw,
        0.1,
        weight_decay=lambda t: 0.1 * t.astype(float),
        mask=lambda p: [True, False, True, False],
    ),
    "adamw of keras": partial(optim.adamw, 0.1, profile="keras"),
    "nadamw": partial(optim.nadamw, 0.1),
    "sgd": partial(optim.sgd, 0.1, momentum=0.9),
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of any size go to the core."""
    monkeypatch.setattr(_adam_native, "LEAST", 1)


def arrays(seed: int, dtype: Any = jnp.float64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=s), dtype) for s in SHAPES]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_update_and_sum(name: str, small: None) -> None:
    """Parameters and states of 12 steps, jitted and with donated buffers."""
    tx = NAMES[name]()
    one = jax.jit(optim.stepping(tx), donate_argnums=(1, 2))
    other = optim.stepping(tx._replace(update=lambda *a: tx.update(*a)))  # without a way to move
    a, b = arrays(0), arrays(0)
    state, held = tx.init(a), tx.init(b)
    for t in range(12):
        a, state = one(arrays(t + 1), state, a)
        b, held = other(arrays(t + 1), held, b)
    assert jax.tree.structure(state) == jax.tree.structure(held)
    for x, y in zip(jax.tree.leaves((a, state)), jax.tree.leaves((b, held)), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


@pytest.mark.skipif(_ffi.available() is not None, reason="no native library")
def test_only_large_arrays_go_to_the_core() -> None:
    tx = optim.adamw(0.1)
    for n, calls in ((_adam_native.LEAST - 1, 0), (_adam_native.LEAST, 1)):
        p = jnp.ones(n, jnp.float32)
        text = jax.jit(optim.stepping(tx)).lower(p, tx.init(p), p).as_text()
        assert text.count("bpx_call") == calls


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_narrower_types(dtype: Any, small: None) -> None:
    tx = optim.adamw(0.1, weight_decay=0.2)
    a = arrays(0, dtype)
    state = tx.init(a)
    moved, after = jax.jit(optim.stepping(tx))(arrays(1, dtype), state, a)
    updates, want = tx.update(arrays(1, dtype), state, a)
    rounding = 2.0**-7 if dtype == jnp.bfloat16 else 2.0**-21
    for x, p, u in zip(moved, a, updates, strict=True):
        assert x.dtype == dtype
        y = np.asarray(p, np.float64) + np.asarray(u, np.float64)
        np.testing.assert_allclose(np.asarray(x, np.float64), y, rtol=rounding, atol=rounding)
    for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(want), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(np.asarray(x, float), np.asarray(y, float), rtol=rounding)


def test_float32_gradients_of_16_bit_parameters(small: None) -> None:
    tx, p = optim.adam(0.1), jnp.ones(5, jnp.bfloat16)
    moved, _ = optim.stepping(tx)(jnp.ones(5, jnp.float32), tx.init(p), p)
    assert moved.dtype == jnp.bfloat16


def test_derivative_by_the_rate(small: None) -> None:
    """Through the core's step, as through the update."""

    def after(rate: Any, moving: bool) -> Any:
        tx = optim.adamw(rate, weight_decay=0.1)
        p, g = arrays(0), arrays(1)
        if moving:
            return optim.stepping(tx)(g, tx.init(p), p)[0][0].sum()
        return p[0].sum() + tx.update(g, tx.init(p), p)[0][0].sum()

    got, want = (jax.grad(after)(jnp.asarray(0.1), moving) for moving in (True, False))
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_under_vmap(small: None) -> None:
    tx = optim.adam(0.1)
    p, g = jnp.ones((4, 6)), jnp.asarray(np.random.default_rng(2).normal(size=(4, 6)))
    step = optim.stepping(tx)
    got, _ = jax.vmap(lambda g, p: step(g, tx.init(p), p))(g, p)
    want, _ = step(g, tx.init(p), p)
    np.testing.assert_allclose(got, want, rtol=1e-12)
