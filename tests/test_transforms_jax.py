"""bpx_jax's transforms against the specification and optax: values, state, jit, chains."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx.spec import SpecError
from bpx_jax import optim, transforms
from bpx_jax.transforms import TRANSFORMS
from tests.trajectories import label
from tests.transform_inputs import (
    assert_same,
    cases,
    complete,
    draw,
    gradients,
    run_gradients,
)

STATELESS = [(s, t) for s, t in cases("gradients") if not s.state]


def arrays(xs: Any, dtype: Any = jnp.float64) -> list[Any]:
    return [jnp.asarray(x, dtype) for x in xs]


@pytest.mark.parametrize(("spec", "trial"), STATELESS, ids=label)
def test_gradients_are_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    tx = TRANSFORMS[spec.name](**complete(spec, trial))
    update, ps = jax.jit(tx.update), arrays(draw(100))
    for t, want in enumerate(run_gradients(spec, complete(spec, trial), steps=5)):
        got, state = update(arrays(gradients(t)), tx.init(ps), ps)
        assert_same(got, want)
        assert state == ()
    assert update._cache_size() == 1


WRAPPED = [(s, t) for s, t in cases("gradients") if s.state]


def momentum(ps: Any, gs: Any, held: Any) -> Any:
    held = [0.6 * m + g for m, g in zip(held, gs, strict=True)]
    return [p - 0.1 * m for p, m in zip(ps, held, strict=True)], held


@pytest.mark.parametrize(("spec", "trial"), WRAPPED, ids=label)
def test_windows_are_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    options = complete(spec, trial)
    more = {"accumulator_dtype": jnp.float64} if spec.name == "gradient_accumulation" else {}
    tx = TRANSFORMS[spec.name](optim.sgd(0.1, 0.6), **options, **more)
    ps, wanted = arrays(draw(100)), draw(100)
    state, update = tx.init(ps), jax.jit(tx.update)
    held, kept = [np.zeros_like(p) for p in wanted], spec.init(wanted, **options)
    for t in range(9):
        given = gradients(t) if spec.name == "skip_nonfinite" else draw(t)
        gs, kept = spec.step(given, wanted, kept, **options)
        if gs is not None:
            wanted, held = momentum(wanted, gs, held)
        updates, state = update(arrays(given), state, ps)
        ps = jax.tree.map(jnp.add, ps, updates)
        assert_same(ps, wanted, factor=64 * 9)
    assert update._cache_size() == 1


@pytest.mark.parametrize(("spec", "trial"), cases("weights"), ids=label)
def test_weights_are_the_specifications(spec: Any, trial: dict[str, Any]) -> None:
    options, ps = complete(spec, trial), draw(100)
    state = spec.init(ps, **options)
    if spec.name in ("weight_ema", "weight_swa"):
        tx = TRANSFORMS[spec.name](**options)
        update, held = jax.jit(tx.update), tx.init(arrays(ps))
        for t in range(9):
            want, state = spec.step(draw(t), state, **options)
            got, held = update(arrays(draw(t)), held)
            assert_same(got, want)
        assert update._cache_size() == 1
        return
    slow = ps
    inner = optim.sgd(options.get("lr", 0.1))
    if spec.name == "lookahead":
        tx = transforms.lookahead(inner, options["k"], options["alpha"])
        now: Any = transforms.LookaheadParams.init_synced(arrays(ps))
    else:
        tx = transforms.decoupled_decay(inner, options["lr"], options["weight_decay"])
        now = arrays(ps)
    update, held = jax.jit(tx.update), tx.init(now)
    for t in range(9):
        if spec.name == "lookahead":
            moved = [p - 0.1 * g for p, g in zip(ps, draw(t), strict=True)]
            ps, state = spec.step(moved, state, **options)
            slow = state["slow"]
        else:
            ps = [
                p - options["lr"] * g
                for p, g in zip(spec.step(ps, state, **options)[0], draw(t), strict=True)
            ]
        updates, held = update(arrays(draw(t)), held, now)
        now = jax.tree.map(jnp.add, now, updates)
        assert_same(now.fast if spec.name == "lookahead" else now, ps, factor=64 * 9)
        if spec.name == "lookahead":
            assert_same(now.slow, slow, factor=64 * 9)
    assert update._cache_size() == 1


def test_float32_and_bfloat16() -> None:
    """Norms of narrow types neither overflow nor lose digits; averages are kept in float32."""
    g = jnp.full((4096,), 3000.0, jnp.float16)
    (got,), _ = transforms.clip_by_global_norm(1.0).update([g], ())
    np.testing.assert_allclose(got.astype(jnp.float32), 1 / 64, rtol=2**-11)
    (got,), _ = transforms.clip_by_global_norm(1.0).update([jnp.asarray([3e30, 4e30], "f4")], ())
    np.testing.assert_allclose(got, [0.6, 0.8], rtol=3e-7)
    p = jnp.ones((3,), jnp.bfloat16)
    for tx in (transforms.weight_ema(0.9), transforms.weight_swa()):
        out, state = tx.update([p], tx.init([p]))
        assert out[0].dtype == jnp.bfloat16
        assert jax.tree.leaves(state)[-1].dtype == jnp.float32


def test_has_updated_and_an_empty_tree() -> None:
    multi = transforms.MultiSteps(optim.sgd(0.1), 2)
    w = jnp.ones(2, jnp.float32)
    state, seen = multi.init(w), []
    for _ in range(4):
        _, state = multi.update(w, state, w)
        seen.append(bool(multi.has_updated(state)))
    assert seen == [False, True, False, True]
    assert transforms.clip_by_global_norm(1.0).update([], ())[0] == []


def test_rejects() -> None:
    sgd, g = optim.sgd(0.1), [jnp.ones(2)]
    bad = [
        (lambda: transforms.clip(-1.0), "clip_by_value: max_value is -1.0, expected"),
        (lambda: transforms.clip_by_global_norm(-1.0), "max_norm is -1.0, expected a number"),
        (lambda: transforms.clip_by_norm(1.0, -math.inf), "norm_type is -inf, expected a number"),
        (lambda: transforms.adaptive_grad_clip(0), "adaptive_grad_clip: clipping is 0, expected"),
        (lambda: transforms.add_decayed_weights(-1), "l2_penalty: scale is -1, expected"),
        (lambda: transforms.MultiSteps(sgd, 0), "gradient_accumulation: every is 0, expected"),
        (lambda: transforms.apply_if_finite(sgd, -1), "skip_nonfinite: max_consecutive is -1"),
        (lambda: transforms.ema(1.5), "weight_ema: decay is 1.5, expected a number in"),
        (lambda: transforms.weight_ema(0.9, start="x"), "weight_ema: start is 'x', expected one"),
        (lambda: transforms.weight_swa(-1), "weight_swa: start is -1, expected an integer"),
        (lambda: transforms.lookahead(sgd, 0), "lookahead: k is 0, expected an integer"),
        (
            lambda: transforms.lookahead(sgd).update(g, transforms.lookahead(sgd).init(g), g),
            "lookahead: params is a list, expected LookaheadParams (fast and slow)",
        ),
        (
            lambda: transforms.adaptive_grad_clip(0.1).update(g, ()),
            "adaptive_grad_clip: params is None, expected the parameters",
        ),
        (lambda: transforms.l1_penalty(0.1).update(g, ()), "l1_penalty: params is None"),
        (lambda: transforms.decoupled_decay(sgd, -0.1), "decoupled_decay: lr is -0.1, expected"),
    ]
    for call, message in bad:
        with pytest.raises(SpecError) as caught:
            call()
        assert message in str(caught.value)
