"""stepping(tx): update and sum in one, by the native core where that takes an array."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from bpx_jax import _move, optim
from bpx_jax.kernels.cpu import _ffi

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
    "nadamw": partial(optim.nadamw, 0.1, weight_decay=0.2, b1=0.7),
    "amsgrad": partial(optim.amsgrad, 0.1),
    "adamax": partial(optim.adamax, 0.1, b1=0.8, eps=1e-2),
    "adamax of keras": partial(
        optim.adamax, lambda t: 0.1 / (1 + t.astype(float)), profile="keras"
    ),
    "adamaxw": partial(optim.adamaxw, 0.1, weight_decay=0.3),
    "adadelta": partial(optim.adadelta, 0.7, rho=0.8, eps=1e-3),
    "adadelta, decay": partial(optim.adadelta, 0.7, weight_decay=0.2),
    "adagrad": partial(optim.adagrad, 0.1, initial_accumulator_value=0.0, eps=0.0),
    "adagrad of torch": partial(optim.adagrad, 0.1, eps=0.1, eps_in_sqrt=False),
    "lars": partial(optim.lars, 0.5, weight_decay=0.2, momentum=0.8, eps=1e-2),
    "lars, nesterov": partial(
        optim.lars, 0.5, trust_ratio_mask=lambda p: [False, True, False, True], nesterov=True
    ),
    "lion": partial(optim.lion, 0.1, b1=0.7, weight_decay=0.3),
    "lion, schedules": partial(
        optim.lion,
        lambda t: 0.1 / (1 + t.astype(float)),
        mask=lambda p: [False, True, True, False],
    ),
    "rmsprop": partial(optim.rmsprop, 0.1, decay=0.7, eps=1e-2, initial_scale=0.5),
    "rmsprop, corrected": partial(optim.rmsprop, 0.1, bias_correction=True),
    "rmsprop of torch": partial(
        optim.rmsprop, 0.1, decay=0.8, eps=1e-2, eps_in_sqrt=False, bias_correction=True
    ),
    "rmsprop, centered": partial(optim.rmsprop, 0.1, centered=True, momentum=0.5),
    "sgd": partial(optim.sgd, 0.1, momentum=0.9),
    "sgd, nesterov": partial(optim.sgd, 0.1, momentum=0.7, nesterov=True),
    "sgd of keras": partial(optim.sgd, 0.1, momentum=0.7, nesterov=True, lr_in_momentum=True),
    "sgd, no momentum": partial(optim.sgd, 0.1),
}
PLAIN = {"amsgrad", "rmsprop, centered", "sgd, no momentum"}  # the core has no call for these


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of any size go to the core."""
    monkeypatch.setattr(_move, "LEAST", 1)


def arrays(seed: int, dtype: Any = jnp.float64) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=s), dtype) for s in SHAPES]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_update_and_sum(name: str, small: None) -> None:
    """Parameters and states of 12 steps, jitted and with donated buffers."""
    tx = NAMES[name]()
    one = jax.jit(optim.stepping(tx), donate_argnums=(1, 2))
    if _ffi.available() is None:
        p = arrays(0)
        text = one.lower(p, tx.init(p), p).as_text()
        assert text.count("bpx_call") == (0 if name in PLAIN else len(SHAPES))
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


EDGES = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e200, -1e-200]


@pytest.mark.parametrize("name", sorted({*NAMES} - PLAIN))
def test_a_step_from_the_edges_is_update_and_sum(name: str, small: None) -> None:
    """Gradients that are 0, NaN, infinite, or whose squares are, at states that are 0 and not."""
    tx = NAMES[name]()
    moving, plain = optim.stepping(tx), optim.stepping(tx._replace(update=lambda *a: tx.update(*a)))
    edges = jnp.asarray(EDGES)
    g = [edges, edges[::-1], edges[2:4], edges[:1]]
    p = [jnp.asarray(np.linspace(-1.0, 1.0, a.size)) for a in g]
    state = tx.init(p)
    for t in range(2):
        g = [jnp.roll(a, t) for a in g]  # what came from a NaN meets another gradient
        got, after = moving(g, state, p)
        want, state = plain(g, state, p)
        for x, y in zip(jax.tree.leaves((got, after)), jax.tree.leaves((want, state)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-12)
        p = want


@pytest.mark.skipif(_ffi.available() is not None, reason="no native library")
@pytest.mark.parametrize("variant", range(4))
@pytest.mark.parametrize("rule", _move.PLAIN)
def test_the_core_and_its_tangent_have_one_formula(rule: str, variant: int) -> None:
    rng = np.random.default_rng(variant)
    p, g, m, v = (jnp.asarray(rng.normal(size=20_000)) for _ in range(4))
    held = {"adam": (m, abs(v)), "maxima": (m, abs(v)), "deltas": (abs(m), abs(v))}
    rates = jnp.asarray(rng.uniform(0.1, 0.9, _move.RATES))
    given = p, g, held.get(rule, (abs(m),)), rates
    want = _move.PLAIN[rule](variant, *given)
    for x, y in zip(_move._moved(rule, variant, *given), want, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=64 * 2.0**-52 * np.abs(y).max())


@pytest.mark.parametrize("name", ["adamw", "lars", "sgd"])
@pytest.mark.parametrize(
    ("of_p", "of_g"), [(jnp.float32, jnp.bfloat16), (jnp.float64, jnp.float32)]
)
def test_a_narrower_gradient_leaves_the_parameter_its_digits(
    name: str, of_p: Any, of_g: Any, small: None
) -> None:
    tx, p, g = NAMES[name](), arrays(0, of_p), arrays(1, of_g)
    moved, _ = optim.stepping(tx)(g, tx.init(p), p)
    updates, _ = tx.update(g, tx.init(p), p)
    for x, old, u in zip(moved, p, updates, strict=True):
        assert x.dtype == of_p
        np.testing.assert_array_equal(x, old + u.astype(of_p))


@pytest.mark.skipif(_ffi.available() is not None, reason="no native library")
def test_only_large_arrays_go_to_the_core() -> None:
    tx = optim.adamw(0.1)
    for n, calls in ((_move.LEAST - 1, 0), (_move.LEAST, 1)):
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
