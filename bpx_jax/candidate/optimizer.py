"""An optax-style transform as a stepper for the kit, and what only such a transform has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx.verify.candidate.plan import Check

jax.config.update("jax_enable_x64", True)


def stepper(make: Any, params: list[Any]) -> Any:
    transform, held = make(), [jnp.asarray(p) for p in params]
    state = transform.init(held)

    @jax.jit
    def update(gs: Any, state: Any, held: Any) -> Any:
        updates, state = transform.update(gs, state, held)
        return [p + u for p, u in zip(held, updates, strict=True)], state

    def step(gs: list[Any]) -> list[Any]:
        nonlocal held, state
        held, state = update([jnp.asarray(g) for g in gs], state, held)
        return [np.asarray(p) for p in held]

    return step


def checks(make: Any, params: list[Any], path: list[Any]) -> list[Check]:
    return [Check("transform", "eager and jit", partial(eager, make, params, path))]


def eager(make: Any, params: list[Any], path: list[Any]) -> Iterator[dict[str, Any]]:
    """The update without jit; and the state keeps its structure, shapes and dtypes."""
    transform, held = make(), [jnp.asarray(p) for p in params]
    state = transform.init(held)
    compiled = stepper(make, params)
    for gs in path[:2]:
        updates, after = transform.update([jnp.asarray(g) for g in gs], state, held)
        held = [p + u for p, u in zip(held, updates, strict=True)]
        want = compiled(gs)
        before = jax.tree.map(lambda a: (jnp.shape(a), jnp.result_type(a)), state)
        same = before == jax.tree.map(lambda a: (jnp.shape(a), jnp.result_type(a)), after)
        message = "" if same else "changes its structure, shapes or dtypes"
        yield {"what": "state", "message": message}
        state = after
    for i, (g, w) in enumerate(zip(held, want, strict=True)):
        off = float(np.abs(np.asarray(g) - w).max(initial=0.0))
        scale = float(np.abs(w).max(initial=0.0)) or 1.0
        yield {"what": f"parameter {i}", "ratio": off / (1e-12 * scale)}
