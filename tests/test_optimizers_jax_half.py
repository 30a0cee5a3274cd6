"""accumulate_in_float32: the specification's states beside 16-bit parameters; optax's stall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp

from bpx.optimizers import ALL
from bpx.spec import Optimizer
from bpx_jax import optim
from tests import trajectories as tj
from tests.optax_arguments import CASES, STATE, STATE_OF, call
from tests.optax_optimizers import as_list, as_tree, fields, flat

pytestmark = pytest.mark.slow

# A step rounds a moment at most a dozen times by half an eps, and decay at most carries that on.
LIMIT = tj.STEPS * 12 / 2 * float(np.finfo(np.float32).eps)


def exact(tree: Any) -> list[Any]:
    return [np.asarray(x, np.float64) for x in as_list(tree)]


@pytest.mark.parametrize("spec", ALL, ids=lambda s: s.name)
def test_states_of_bfloat16_parameters(spec: Optimizer) -> None:
    trial = max((t for s, t in CASES if s is spec and not t.get("centered")), key=len)
    name, kw = call(spec, trial)
    plain = getattr(optim, name)(**kw)
    txs = (optim.accumulate_in_float32(plain), plain)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), as_tree(tj.parameters(spec)))
    states = [tx.init(half) for tx in txs]

    @jax.jit
    def move(p: Any, states: Any, g: Any) -> Any:
        pairs = [tx.update(g, s, p) for tx, s in zip(txs, states, strict=True)]
        return jax.tree.map(jnp.add, p, pairs[0][0]), [s for _, s in pairs]

    start = exact(half)
    step = tj.spec_stepper(spec, [tj.complete(spec, trial)] * len(start), start)
    worst, sizes = [0.0, 0.0], {}
    for gs in tj.gradients(spec, absent=False):
        g = jax.tree.map(lambda x: x.astype(jnp.bfloat16), as_tree(gs))
        half, states = move(half, states, g)
        held, wanted = step(exact(g))
        wanted = [flat(spec, w) for w in wanted]
        held[:] = exact(half)
        assert all(x.dtype == jnp.bfloat16 for x in as_list(half))
        for which, state in enumerate(states):
            found = fields(state)
            for key, name in STATE_OF.get(spec.name, STATE).items():
                columns = as_list(found[key]) if isinstance(found.get(key), dict) else []
                for i, got in enumerate(columns):
                    assert which == 1 or got.dtype == jnp.float32, key
                    want = np.asarray(wanted[i][name], np.float64)
                    if not want.size:
                        continue
                    got = np.reshape(np.asarray(got, np.float64), want.shape)
                    size = np.maximum(np.abs(want), sizes.get((i, name), 0.0))
                    sizes[i, name] = size
                    size = size.max() if spec.name in tj.WHOLE else size
                    error = np.abs(got - want) / np.where(size > 0, size, 1.0)
                    worst[which] = max(worst[which], float(error.max()))
    assert worst[0] <= LIMIT
    assert worst[1] > 10 * LIMIT, "states in bfloat16 are not told from states in float32"


def test_it_changes_nothing_else_and_holds_optaxs_own() -> None:
    p = {"a": jnp.linspace(-1, 2, 7, dtype=jnp.float32), "b": [jnp.ones((2, 3), jnp.float64)]}
    g = jax.tree.map(lambda x: jnp.cos(x), p)
    plain, held = optim.adamw(0.1), optim.accumulate_in_float32(optim.adamw(0.1))
    one, two = (tx.update(g, tx.init(p), p) for tx in (plain, held))
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    half = {"a": p["a"].astype("float16")}
    with jax.numpy_dtype_promotion("standard"):
        tx = optax.chain(
            optax.clip_by_global_norm(1.0), optim.accumulate_in_float32(optax.adam(0.1))
        )
        updates, state = tx.update(half, tx.init(half))  # without parameters
        moved = optax.apply_updates(half, updates)
    assert updates["a"].dtype == moved["a"].dtype == jnp.float16
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype("float32"), jnp.dtype("int32")}
