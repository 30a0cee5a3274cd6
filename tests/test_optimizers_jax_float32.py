"""What bpx_jax does otherwise than optax on purpose: exacter float32, and Rprop at once."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx.optimizers.nadam import SPEC as NADAM
from bpx.optimizers.radam import SPEC as RADAM
from bpx.optimizers.rprop import SPEC as RPROP
from bpx.spec import Optimizer, SpecError
from bpx_jax import optim
from bpx_jax.optimizers.radam import _length
from tests import trajectories as tj

EPS = float(np.finfo(np.float32).eps)


def rows(seed: int, steps: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [np.float32(rng.normal(size=9)) for _ in range(steps)]


def updates(tx: Any, grads: list[Any]) -> list[Any]:
    p = jnp.zeros(9, jnp.float32)
    state, found = tx.init(p), []
    for g in grads:
        u, state = tx.update(jnp.asarray(g), state, p)
        found.append(np.float64(u))
    return found


def wanted(spec: Optimizer, grads: list[Any], **options: Any) -> list[Any]:
    options = tj.complete(spec, options)
    p = np.zeros(9)
    state, found = spec.init(p, **options), []
    for t, g in enumerate(grads, 1):
        new, state = spec.step(p, np.float64(g), state, t, **options)
        found.append(new - p)
        p = new
    return found


def error(got: list[Any], want: list[Any]) -> float:
    """The largest, in units of the largest element of its update."""
    pairs = zip(got, want, strict=True)
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in pairs)


@pytest.mark.parametrize("b2", [0.95, 0.999, 0.999999])
def test_length_of_radams_average_in_float32(b2: float) -> None:
    """Against the sum that does not cancel: rho = sum of b2^i S(t-i) + b2^(i+1) S(t-i-1) over S(t),
    with S(k) = 1 + b2 + ... + b2^(k-1)."""
    sums = np.concatenate([[0.0], np.cumsum(b2 ** np.arange(4000.0))])
    for t in (1, 2, 5, 6, 7, 40, 999, 4000):
        i = np.arange(t)
        terms = b2**i * sums[t - i] + b2 ** (i + 1) * sums[t - i - 1]
        want = terms.sum() / sums[t]
        got = _length(float(b2), jnp.int32(t), jnp.dtype("float32"))
        assert got.dtype == jnp.float32
        # t and h are rounded, t * h once more, a few operations follow: 8 eps of the larger term
        assert abs(float(got) - want) <= 8 * EPS * max(want, 1.0), (t, float(got), want)
        exact = _length(float(b2), jnp.int32(t), jnp.dtype("float64"))
        # its terms are 2 / (1 - b2), and 1 - b2^t is off by eps / (t (1 - b2))
        size = 2 / (1 - b2) * (1 + 1 / min(t * (1 - b2), 1.0))
        assert abs(float(exact) - want) <= 4 * size * np.finfo(np.float64).eps


def test_radam_in_float32_is_the_specification_where_optax_is_not() -> None:
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        grads = rows(0, 12)
        want = wanted(RADAM, grads, lr=1.0, eps_corrected=True, inclusive=True)
        ours, theirs = (error(updates(m.radam(1.0), grads), want) for m in (optim, optax))
    assert ours < 40 * EPS < 1e-3 < theirs


def test_scheduled_nadam_in_float32() -> None:
    with jax.enable_x64(False):
        grads = rows(1, 12)
        got = updates(optim.scheduled_nadam(1.0, momentum_decay=0.5), grads)
        assert error(got, wanted(NADAM, grads, lr=1.0, momentum_decay=0.5)) < 40 * EPS


def test_scheduled_nadam_without_decay_needs_no_parameters() -> None:
    g = jnp.ones(3)
    tx = optim.scheduled_nadam(0.1)
    assert np.all(tx.update(g, tx.init(g))[0] < 0)
    tx = optim.scheduled_nadam(0.1, weight_decay=0.1)
    with pytest.raises(SpecError, match="nadam: params is None, expected the parameters"):
        tx.update(g, tx.init(g))


def test_rprop_is_optaxs_without_its_delay() -> None:
    """optax's update is ours of the call before, or 0 where the sign has turned since."""
    both = optim.rprop, optax.rprop
    plain = [[(p.name, p.default) for p in inspect.signature(f).parameters.values()] for f in both]
    assert plain[0] == plain[1]
    ours, theirs = (f(0.1, eta_plus=1.5, max_step_size=0.3) for f in both)
    p = jnp.zeros((6, 5))
    states = [ours.init(p), theirs.init(p)]
    paths = [
        [(jax.tree_util.keystr(k), v.shape, v.dtype) for k, v in flat]
        for flat in (jax.tree_util.tree_flatten_with_path(s)[0] for s in states)
    ]
    assert paths[0] == paths[1]
    rng = np.random.default_rng(0)
    last, turned = np.zeros((6, 5)), 0
    for _ in range(20):
        g = jnp.asarray(np.where(rng.uniform(size=(6, 5)) < 0.2, 0.0, rng.normal(size=(6, 5))))
        turn = np.asarray(g) * np.asarray(states[0][0].prev_updates) < 0
        mine, states[0] = ours.update(g, states[0], p)
        late, states[1] = theirs.update(g, states[1], p)
        np.testing.assert_allclose(late, np.where(turn, 0.0, last), rtol=1e-14)
        for a, b in zip(states[0][0], states[1][0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)
        last, turned = np.asarray(mine), turned + turn.sum()
    assert turned > 50


def test_rprop_of_gradients_whose_product_underflows() -> None:
    """In float32 1e-30 * 1e-30 is 0, which is no sign; the signs are taken before the product."""
    g = jnp.full(3, 1e-30, jnp.float32)
    tx = optim.rprop(0.1)
    state = tx.init(g)
    for _ in range(2):
        updates, state = tx.update(g, state)
    np.testing.assert_allclose(updates, -0.12, rtol=1e-6)
    p, options = np.zeros(3), tj.complete(RPROP, {"lr": 0.1})
    held = RPROP.init(p, **options)
    for t in (1, 2):
        p, held = RPROP.step(p, np.full(3, 1e-200), held, t, **options)
    np.testing.assert_allclose(p, -0.22)


def test_rprop_refuses_a_schedule() -> None:
    with pytest.raises(SpecError, match="rprop: learning_rate is a schedule, expected a number"):
        optim.rprop(lambda count: 0.1)
