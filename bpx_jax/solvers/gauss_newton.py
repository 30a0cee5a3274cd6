"""Gauss-Newton for JAX. Maths, options and source: bpx/solvers/gauss_newton.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bpx.spec import require
from bpx_jax.solvers._descent import descend
from bpx_jax.solvers._flat import Result, flatten


def gauss_newton(
    residuals: Callable[[Any], Any],
    params: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 100,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
) -> Result:
    """Minimise half the sum of squared residuals. Arguments and errors: as `bfgs`, but

    Args:
        residuals: pytree -> one floating array of any shape; the Jacobian is JAX's, in reverse
            mode.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
    }
    x, back = flatten("gauss_newton", params, options)
    rows = linearised("gauss_newton", residuals, back, x.dtype)

    def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array, Any]:
        r, jacobian = rows(x)
        return jnp.sum(r * r) / 2, r @ jacobian, (r, jacobian)

    def direction(x: jax.Array, g: jax.Array, aux: Any, memory: Any) -> jax.Array:
        r, jacobian = aux
        return -jnp.linalg.lstsq(jacobian, r)[0]

    return descend(
        evaluate,
        x,
        back,
        direction,
        (),
        lambda memory, s, y: memory,
        options,
        cautious=False,
        matrices=lambda iterations, evaluations: evaluations,
    )


def linearised(
    entry: str, residuals: Callable[[Any], Any], back: Callable[[jax.Array], Any], dtype: Any
) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """x -> residuals (m) and their Jacobian (m n)."""

    def flat(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        r = jnp.asarray(residuals(back(x)))
        require(
            jnp.issubdtype(r.dtype, jnp.floating),
            f"{entry}: the residuals have dtype {r.dtype}, expected a real floating one",
        )
        r = r.reshape(-1).astype(dtype)
        return r, r

    def rows(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        jacobian, r = jax.jacrev(flat, has_aux=True)(x)
        return r, jacobian

    return rows
