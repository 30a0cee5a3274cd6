"""L-BFGS for JAX. Maths, options and source: bpx/solvers/lbfgs.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx_jax.solvers._descent import descend, differentiated
from bpx_jax.solvers._flat import Result, flatten


class Memory(NamedTuple):
    """The last pairs as rows, the newest last; rho is 0 in rows that are not filled."""

    s: jax.Array
    y: jax.Array
    rho: jax.Array
    gamma: jax.Array


def lbfgs(
    f: Callable[[Any], Any],
    params: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 1000,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    history_size: int = 10,
    line_search_fn: str | None = "strong_wolfe",
) -> Result:
    """Minimise a function of a pytree by L-BFGS. Arguments and errors: as `bfgs`, and

    Args:
        history_size: how many pairs are kept.
        line_search_fn: "strong_wolfe", or None for steps of lr that are not searched.

    >>> result = lbfgs(lambda p: ((p["w"] - 3) ** 2).sum(), {"w": jnp.zeros(2)})
    >>> result.outcome, result.params["w"].tolist()
    ('converged', [3.0, 3.0])
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "history_size": history_size,
        "line_search_fn": line_search_fn,
    }
    x, back = flatten("lbfgs", params, options)
    rows = jnp.zeros((history_size, len(x)), x.dtype)
    memory = Memory(rows, rows, jnp.zeros(history_size, x.dtype), jnp.ones((), x.dtype))
    evaluate = differentiated("lbfgs", f, back, x.dtype)
    return descend(
        evaluate,
        x,
        back,
        _direction,
        memory,
        _learn,
        options,
        cautious=True,
        matrices=lambda iterations, evaluations: jnp.zeros_like(iterations),
    )


def _direction(x: jax.Array, g: jax.Array, aux: Any, m: Memory) -> jax.Array:
    def down(q: jax.Array, row: Any) -> Any:
        s, y, rho = row
        weight = rho * (s @ q)
        return q - weight * y, weight

    def up(r: jax.Array, row: Any) -> Any:
        s, y, rho, weight = row
        return r + s * (weight - rho * (y @ r)), None

    rows = m.s, m.y, m.rho
    q, weights = jax.lax.scan(down, -g, rows, reverse=True)
    return jax.lax.scan(up, m.gamma * q, (*rows, weights))[0]


def _learn(m: Memory, s: jax.Array, y: jax.Array) -> Memory:
    ys = y @ s
    real = ys > jnp.finfo(s.dtype).eps * jnp.linalg.norm(y) * jnp.linalg.norm(s)
    longer = Memory(
        jnp.concatenate([m.s[1:], s[None]]),
        jnp.concatenate([m.y[1:], y[None]]),
        jnp.concatenate([m.rho[1:], (1 / ys)[None]]),
        ys / (y @ y),
    )
    return jax.tree.map(lambda a, b: jnp.where(real, a, b), longer, m)
