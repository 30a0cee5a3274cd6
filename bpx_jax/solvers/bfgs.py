"""BFGS for JAX. Maths, options and source: bpx/solvers/bfgs.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bpx_jax.solvers._descent import descend, differentiated
from bpx_jax.solvers._flat import Result, flatten


def bfgs(
    f: Callable[[Any], Any],
    params: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 1000,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
) -> Result:
    """Minimise a function of a pytree by BFGS; n^2 numbers for n elements.

    Args:
        f: pytree -> floating scalar.
        params: where to start; real floating leaves.
        lr: the first step that each line search tries.
        max_iter, max_eval: see `bpx.solvers.Result`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `bpx.solvers.Result`.

    Raises:
        SpecError: an option outside its limits, another leaf, an f that gives no scalar.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
    }
    x, back = flatten("bfgs", params, options)
    inverse, scaled = jnp.eye(len(x), dtype=x.dtype), jnp.zeros((), bool)
    evaluate = differentiated("bfgs", f, back, x.dtype)
    return descend(
        evaluate,
        x,
        back,
        lambda x, g, aux, memory: -(memory[0] @ g),
        (inverse, scaled),
        _learn,
        options,
        cautious=True,
        matrices=lambda iterations, evaluations: jnp.zeros_like(iterations),
    )


def _learn(memory: tuple[jax.Array, jax.Array], s: jax.Array, y: jax.Array) -> Any:
    inverse, scaled = memory
    ys = y @ s
    real = ys > jnp.finfo(s.dtype).eps * jnp.linalg.norm(y) * jnp.linalg.norm(s)
    first = jnp.where(scaled, inverse, inverse * (ys / (y @ y)))
    # V H V^T one factor at a time: V = I - s y^T / ys
    left = first - jnp.outer(s, y @ first) / ys
    both = left - jnp.outer(left @ y, s) / ys
    after = both + jnp.outer(s, s) / ys
    return jnp.where(real, after, inverse), scaled | real
