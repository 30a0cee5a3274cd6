"""Runs of bpx_jax's and optax's transformations, jitted and with donated buffers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bpx.spec import Optimizer
from bpx_jax import optim
from tests import trajectories as tj
from tests.optax_arguments import FLAT, STATE, STATE_OF, theirs


def as_tree(arrays: list[Any]) -> dict[str, Any]:
    first, *rest = (jnp.asarray(x) for x in arrays)
    return {"w": first, "inner": [rest[:1], (*rest[1:],)]}


def as_list(tree: Any) -> list[Any]:
    return [tree["w"], *tree["inner"][0], *tree["inner"][1]]


def fields(state: Any) -> dict[str, Any]:
    """Every array tree of a nest of named tuples by its field; the first count met is the step."""
    found: dict[str, Any] = {}
    for name, value in zip(getattr(state, "_fields", [""] * len(state)), state, strict=True):
        if name == "inner_states":  # of a partition, the optimizer's own before Adam's
            value = tuple(value[k] for k in sorted(value, reverse=True))
        if isinstance(value, tuple):
            found = {**fields(value), **found}
        else:
            found.setdefault(name, value)
    return found


def flat(spec: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The states of FLAT as vectors, those that are not there as one 0."""
    names = FLAT.get(spec.name, ())
    return {**state, **{k: jnp.ravel(jnp.asarray(state.get(k, 0.0))) for k in names}}


def stepper(spec: Optimizer, tx: Any) -> Any:
    """Steps a transformation, jitted and with donated buffers; traced once for the whole run."""
    held = as_tree(tj.parameters(spec))
    state = tx.init(held)
    traces: list[int] = []

    def move(p: Any, s: Any, g: Any) -> Any:
        traces.append(1)
        updates, s = tx.update(g, s, p)
        return jax.tree.map(jnp.add, p, updates), s

    move = jax.jit(move, donate_argnums=(0, 1))
    named = STATE_OF.get(spec.name, STATE)

    def run(gs: list[Any]) -> Any:
        nonlocal held, state
        old = jax.tree.leaves((held, state))
        held, state = move(held, state, as_tree(gs))
        # a state of shape (1,) is a placeholder, which is passed on as it is
        left = [x.shape for x in old if x.size and not x.is_deleted() and x.shape != (1,)]
        assert not left, f"donated buffers were not taken: {left}"
        assert len(traces) == 1, "the step was traced again"
        found = fields(state)
        columns = {
            v: as_list(x) if isinstance(x := found[k], dict) else [x] * len(gs)
            for k, v in named.items()
            if found.get(k) is not None
        }
        rows = [{k: v[i] for k, v in columns.items()} for i in range(len(gs))]
        rows = [flat(spec, r) for r in rows]
        if "count" in found:
            rows = [{**r, "t": found["count"]} for r in rows]
        return as_list(held), rows

    return run


def reference(spec: Optimizer, name: str, kw: dict[str, Any], steps: int = tj.STEPS) -> tj.Path:
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes
        run = stepper(spec, theirs(name)(**kw))
        return tj.trajectory(run, tj.gradients(spec, absent=False, steps=steps))


def ours(spec: Optimizer, name: str, kw: dict[str, Any], steps: int = tj.STEPS) -> tj.Path:
    run = stepper(spec, getattr(optim, name)(**kw))
    return tj.trajectory(run, tj.gradients(spec, absent=False, steps=steps))
