"""bpx_jax's optimizers inside optax's wrappers and JAX's transformations."""

from __future__ import annotations

import functools
import inspect
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx_jax import optim
from tests.optax_arguments import STATIC, loud, theirs

OPTIONS = {name: loud(name) for name in optim.__all__}
each = pytest.mark.parametrize("name", OPTIONS)
SHARED = [name for name in OPTIONS if theirs(name) is not None]
STEPS = 6


def mask_of(name: str) -> str:
    """The argument that says which leaves decay."""
    names = inspect.signature(getattr(optim, name)).parameters
    return next((k for k in ("mask", "weight_decay_mask") if k in names), "")


def tree(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "a": jnp.asarray(rng.normal(size=(3, 2))),
        "b": (jnp.asarray(rng.normal(size=(2, 4))), None),
    }


def grads() -> list[Any]:
    return [tree(100 + t) for t in range(STEPS)]


def run(tx: Any) -> Any:
    """The parameters after a few jitted steps, with optax's own promotion rules."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):

        @jax.jit
        def step(p: Any, s: Any, g: Any) -> Any:
            updates, s = tx.update(g, s, p)
            return jax.tree.map(jnp.add, p, updates), s

        p = tree(0)
        s = tx.init(p)
        for g in grads():
            p, s = step(p, s, g)
    return p


def same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-13)


def wrapped(name: str, how: str, factory: Any) -> Any:
    kw = OPTIONS[name]
    if how == "chain":
        return optax.chain(optax.clip_by_global_norm(1.5), factory(**kw), optax.scale(0.5))
    if how == "inject_hyperparams":
        kw = {**kw, "learning_rate": optax.linear_schedule(0.2, 0.05, 4)}
        kw.pop("warmup_steps", None)  # optax multiplies it in float32
        return optax.inject_hyperparams(factory, static_args=[k for k in STATIC if k in kw])(**kw)
    if how == "masked":
        return optax.masked(factory(**kw), {"a": True, "b": False})
    assert how == "MultiSteps"
    return optax.MultiSteps(factory(**kw), every_k_schedule=2).gradient_transformation()


# inject_hyperparams turns every number into an array, so it is tried on all; the rest see only
# init and update, and share them out.
@pytest.mark.parametrize(
    ("how", "name"),
    [
        *(("inject_hyperparams", name) for name in SHARED),
        *(("chain", name) for name in ("adagrad", "adamw")),
        *(("masked", name) for name in ("rmsprop", "adamw")),
        *(("MultiSteps", name) for name in ("sgd", "amsgrad")),
    ],
)
def test_inside_optax(how: str, name: str) -> None:
    same(*(run(wrapped(name, how, f)) for f in (getattr(optim, name), theirs(name))))


MASKS = (None, {"a": False, "b": True}, lambda t: jax.tree.map(lambda x: x.shape[0] > 2, t))


@pytest.mark.parametrize("name", [n for n in SHARED if mask_of(n)])
def test_decay_mask_and_schedule(name: str) -> None:
    def decays(count: Any) -> Any:
        return 0.5 / (1.0 + count)

    for mask, decay in ((MASKS[0], decays), (MASKS[1], 0.4), (MASKS[2], decays)):
        kw = {"learning_rate": 0.1, "weight_decay": decay, mask_of(name): mask}
        if name == "adafactor":  # it has a number there, and float32 moments
            kw = {**OPTIONS[name], "weight_decay_rate": 0.4, mask_of(name): mask}
        both = [f(**kw) for f in (getattr(optim, name), theirs(name))]
        same(run(both[0]), run(both[1]))
        paths = [
            [
                jax.tree_util.keystr(k)
                for k, _ in jax.tree_util.tree_flatten_with_path(tx.init(tree(0)))[0]
            ]
            for tx in both
        ]
        assert paths[0] == paths[1]


@each
def test_scan_with_donated_state_under_strict_promotion(name: str) -> None:
    tx = getattr(optim, name)(**OPTIONS[name])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train(p: Any, s: Any, gs: Any) -> Any:
        def body(carry: Any, g: Any) -> Any:
            p, s = carry
            updates, s = tx.update(g, s, p)
            return (jax.tree.map(jnp.add, p, updates), s), None

        return jax.lax.scan(body, (p, s), gs)[0]

    p = tree(0)
    s = tx.init(p)
    first = jax.tree.leaves((p, s))[-1]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *grads())
    moved, after = train(p, s, stacked)
    assert first.is_deleted()
    assert jax.tree.structure(after) == jax.tree.structure(tx.init(tree(0)))
    same(moved, run(tx))


@pytest.mark.parametrize("name", SHARED)
def test_state_of_optax_is_taken_over(name: str) -> None:
    """Leaves in the same order: a run starts in optax and ends here."""
    ours, optaxs = getattr(optim, name)(**OPTIONS[name]), theirs(name)(**OPTIONS[name])
    p = tree(0)
    with jax.numpy_dtype_promotion("standard"):
        s = optaxs.init(p)
        for t, g in enumerate(grads()):
            if t == 3:
                s = jax.tree.unflatten(jax.tree.structure(ours.init(p)), jax.tree.leaves(s))
            updates, s = (optaxs if t < 3 else ours).update(g, s, p)
            p = jax.tree.map(jnp.add, p, updates)
    same(p, run(optaxs))


def test_float32_first_steps_are_exacter_than_optaxs() -> None:
    """1 - b2^t in float32 is off by 1e-5 at t = 1; expm1 keeps it to rounding."""
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        g = jnp.linspace(0.5, 2.0, 9, dtype=jnp.float32)
        sizes = [tx.update(g, tx.init(g), g)[0] for tx in (optim.adam(1.0), optax.adam(1.0))]
    errors = [float(np.max(np.abs(np.float64(u) + 1))) for u in sizes]  # the first step is -lr
    assert errors[0] < 4 * np.finfo(np.float32).eps < errors[1]


def test_empty_tree_extra_arguments_and_python_leaves() -> None:
    for name in OPTIONS:
        tx = getattr(optim, name)(**OPTIONS[name])
        assert tx.update({}, tx.init({}), {})[0] == {}
        _, state = tx.update({"a": -0.5}, tx.init({"a": 1.0}), {"a": 1.0}, value=3.0)
        updates, _ = tx.update({"a": -0.5}, state, {"a": 1.0})  # a warm-up starts with a step of 0
        assert updates["a"].shape == ()
        assert updates["a"] != 0


def test_optax_is_not_imported() -> None:
    code = "import sys, bpx_jax.optim; assert not {'optax', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
