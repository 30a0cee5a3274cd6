"""The loop of the solvers that search along a direction, for JAX. In NumPy:
bpx/solvers/_descent.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.solvers._wolfe import MOST
from bpx.spec import Options
from bpx_jax.solvers import _flat
from bpx_jax.solvers._flat import GOING, Result, largest
from bpx_jax.solvers._wolfe import Trial, search


class State(NamedTuple):
    x: jax.Array
    value: jax.Array
    grad: jax.Array
    aux: Any
    memory: Any
    iterations: jax.Array
    evaluations: jax.Array
    code: jax.Array


def descend(
    evaluate: Callable[[jax.Array], tuple[jax.Array, jax.Array, Any]],
    x: jax.Array,
    back: Callable[[jax.Array], Any],
    direction: Callable[[jax.Array, jax.Array, Any, Any], jax.Array],
    memory: Any,
    learn: Callable[[Any, jax.Array, jax.Array], Any],
    options: Options,
    *,
    cautious: bool,
    matrices: Callable[[jax.Array, jax.Array], jax.Array],
) -> Result:
    """evaluate(x) -> (value, gradient, aux); direction(x, gradient, aux, memory) -> p, NaN where
    it has none; learn(memory, s, y) -> memory; matrices(iterations, evaluations) -> how many."""
    o = options
    max_eval, tolerance = _flat.most(o["max_eval"]), o["tolerance_grad"]
    change, dtype = o["tolerance_change"], x.dtype
    searched = o.get("line_search_fn", "strong_wolfe") is not None

    def along(x: jax.Array, p: jax.Array, t: jax.Array) -> Trial:
        value, grad, aux = evaluate(x + t * p)
        return Trial(t, value, grad @ p, grad, aux)

    def step(s: State) -> State:
        p = direction(s.x, s.grad, s.aux, s.memory)
        slope = s.grad @ p
        code = jnp.where(
            ~jnp.isfinite(slope),
            _flat.NON_FINITE,
            jnp.where(
                slope >= 0,
                _flat.SEARCH_FAILED,
                jnp.where(slope > -change, _flat.SMALL_CHANGE, GOING),
            ),
        )
        return jax.lax.cond(code == GOING, partial(move, p, slope), partial(stop, code), s)

    def stop(code: jax.Array, s: State) -> State:
        return s._replace(code=code.astype(jnp.int32))

    def move(p: jax.Array, slope: jax.Array, s: State) -> State:
        t = jnp.asarray(o["lr"], dtype)
        if cautious:
            t = jnp.where(s.iterations == 0, t * jnp.minimum(1, 1 / jnp.abs(s.grad).sum()), t)
        start = Trial(jnp.zeros((), dtype), s.value, slope, s.grad, s.aux)
        if searched:
            width = change / largest(p)
            left = jnp.minimum(MOST, max_eval - s.evaluations)
            there, tried, sane = search(partial(along, s.x, p), start, t, width, left)
            failed = there.t == 0
        else:
            there, tried = along(s.x, p, t), 1
            failed = ~(jnp.isfinite(there.value) & jnp.isfinite(there.slope))
            sane = ~failed
        moved = there.t * p
        evaluations = s.evaluations + tried
        last = s.iterations + 1 == o["max_iter"]
        small = (largest(moved) <= change) | (s.x + moved == s.x).all()
        small |= jnp.abs(there.value - s.value) < change
        flat = largest(there.grad) <= tolerance
        code = jnp.where(small, _flat.SMALL_CHANGE, GOING)
        code = jnp.where(flat, _flat.CONVERGED, code)
        code = jnp.where(evaluations >= max_eval, _flat.MAX_EVAL, code)
        code = jnp.where(last, jnp.where(flat, _flat.CONVERGED, _flat.MAX_ITER), code)
        memory = learn(s.memory, moved, there.grad - s.grad)
        after = State(
            s.x + moved,
            there.value,
            there.grad,
            there.aux,
            memory,
            s.iterations + 1,
            evaluations,
            code.astype(jnp.int32),
        )
        code = jnp.where(sane, _flat.SEARCH_FAILED, _flat.NON_FINITE)
        if searched:
            code = jnp.where(evaluations >= max_eval, _flat.MAX_EVAL, code)
        stay = s._replace(evaluations=evaluations, code=code.astype(jnp.int32))
        return jax.tree.map(lambda a, b: jnp.where(failed, a, b), stay, after)

    value, grad, aux = evaluate(x)
    sane = jnp.isfinite(value) & jnp.isfinite(grad).all()
    code = jnp.where(largest(grad) <= tolerance, _flat.CONVERGED, GOING)
    code = jnp.where(sane, code, _flat.NON_FINITE).astype(jnp.int32)
    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
    state = State(x, value, grad, aux, memory, zero, one, code)
    end = jax.lax.while_loop(lambda s: s.code == GOING, step, state)
    formed = jnp.asarray(matrices(end.iterations, end.evaluations), jnp.int32)
    return Result(
        back(end.x),
        end.value,
        largest(end.grad),
        end.iterations,
        end.evaluations,
        formed,
        end.code,
    )


def differentiated(
    entry: str, f: Callable[[Any], Any], back: Callable[[jax.Array], Any], dtype: Any
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, Any]]:
    """evaluate(x) of a function of the pytree."""

    def value(x: jax.Array) -> jax.Array:
        return _flat.scalar_of(entry, f(back(x))).astype(dtype)

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
        return *jax.value_and_grad(value)(x), ()

    return evaluate
