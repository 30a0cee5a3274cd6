"""bpx_jax's transforms under optax's names against optax: updates, state, inside a chain."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx_jax import transforms
from tests.transform_inputs import assert_same, draw, gradients


def arrays(xs: Any) -> list[Any]:
    return [jnp.asarray(x, jnp.float64) for x in xs]


def decay_rate(count: Any) -> Any:
    return 0.1 / (1 + count.astype(jnp.float64))


# optax's name -> how it is made, of a module that has it
MADE = {
    "clip": lambda m: m.clip(0.4),
    "clip_by_global_norm": lambda m: m.clip_by_global_norm(0.7),
    "clip_by_global_norm, large": lambda m: m.clip_by_global_norm(1e4),
    "clip_by_block_rms": lambda m: m.clip_by_block_rms(0.3),
    "adaptive_grad_clip": lambda m: m.adaptive_grad_clip(0.3, 0.2),
    "adaptive_grad_clip, axis": lambda m: m.adaptive_grad_clip(0.3, 0.2, axis=()),
    "add_decayed_weights": lambda m: m.add_decayed_weights(0.3),
    "add_decayed_weights, schedule": lambda m: m.add_decayed_weights(decay_rate),
    "add_decayed_weights, mask": lambda m: m.add_decayed_weights(0.3, [True, False] * 3),
    "ema": lambda m: m.ema(0.8, accumulator_dtype=jnp.float64),
    "ema, not debiased": lambda m: m.ema(0.8, False, jnp.float64),
    "apply_if_finite": lambda m: m.apply_if_finite(optax.sgd(0.1, 0.6), 1),
    "MultiSteps": lambda m: m.MultiSteps(
        optax.adam(0.1), 3, accumulator_dtype=jnp.float64
    ).gradient_transformation(),
    "MultiSteps, sum": lambda m: m.MultiSteps(
        optax.sgd(0.1, 0.6), lambda step: 2 + step % 2, False, accumulator_dtype=jnp.float64
    ).gradient_transformation(),
    "MultiSteps, skip": lambda m: m.MultiSteps(
        optax.sgd(0.1, 0.6),
        2,
        should_skip_update_fn=m.skip_not_finite,
        accumulator_dtype=jnp.float64,
    ).gradient_transformation(),
}


def flat(tree: Any) -> Any:
    return [(jax.tree_util.keystr(k), v) for k, v in jax.tree_util.tree_flatten_with_path(tree)[0]]


@pytest.mark.parametrize("name", MADE)
def test_optaxs_names_step_as_optax(name: str) -> None:
    """Inside a chain, under jit: updates and state, names and dtypes of the state's leaves."""
    broken = "finite" in name or "skip" in name
    paths = []
    for module in (transforms, optax):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            tx = optax.chain(optax.scale(1.5), MADE[name](module), optax.scale(-1.0))
            ps, update, rows = arrays(draw(100)[:6]), jax.jit(tx.update), []
            state = tx.init(ps)
            for t in range(7):
                gs = gradients(t) if broken else draw(t)
                updates, state = update(arrays(gs[:6]), state, ps)
                rows += updates
        paths.append((rows, flat(state)))
        assert update._cache_size() == 1
    assert_same(paths[0][0], paths[1][0], factor=64 * 7)
    ours, theirs = paths[0][1], paths[1][1]
    assert [(k, v.dtype, v.shape) for k, v in ours] == [(k, v.dtype, v.shape) for k, v in theirs]
    assert_same([v for _, v in ours], [v for _, v in theirs], factor=64 * 7)


@pytest.mark.parametrize("reset", [False, True])
def test_lookahead_is_optaxs(reset: bool) -> None:
    paths = []
    for module in (transforms, optax):
        with jax.numpy_dtype_promotion("standard"):
            tx = module.lookahead(optax.sgd(0.1, 0.6), 3, 0.8, reset)
            ps = module.LookaheadParams.init_synced(arrays(draw(100)[:3]))
            state, update = tx.init(ps), jax.jit(tx.update)
            for t in range(8):
                updates, state = update(arrays(draw(t)[:3]), state, ps)
                ps = optax.apply_updates(ps, updates)
        paths.append([*ps.fast, *ps.slow, *jax.tree.leaves(state)])
    assert_same(*paths, factor=64 * 8)


@pytest.mark.parametrize(
    "name",
    ["clip", "clip_by_block_rms", "add_decayed_weights", "apply_if_finite", "ema", "MultiSteps"],
)
def test_arguments_are_optaxs(name: str) -> None:
    def arguments(f: Any) -> Any:
        return [(p.name, p.default) for p in inspect.signature(f).parameters.values()]

    assert arguments(getattr(transforms, name)) == arguments(getattr(optax, name))
