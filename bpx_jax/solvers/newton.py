"""Newton's method for JAX. Maths, options and source: bpx/solvers/newton.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from bpx.solvers.newton import BETA
from bpx_jax.solvers._descent import descend, differentiated
from bpx_jax.solvers._flat import Result, flatten


def newton(
    f: Callable[[Any], Any],
    params: Any,
    *,
    lr: float = 1.0,
    max_iter: int = 100,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    damping: float = 0.0,
) -> Result:
    """Minimise a function of a pytree by damped Newton steps; n^2 numbers for n elements.

    The Hessian is forward mode over JAX's gradient of f. Arguments and errors: as `bfgs`, and

    Args:
        damping: added to the diagonal of the Hessian.
    """
    options = {
        "lr": lr,
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "damping": damping,
    }
    x, back = flatten("newton", params, options)
    evaluate = differentiated("newton", f, back, x.dtype)

    def direction(x: jax.Array, g: jax.Array, aux: Any, memory: Any) -> jax.Array:
        b = jax.jacfwd(lambda x: evaluate(x)[1])(x)
        return -cho_solve((_factor(b + damping * jnp.eye(len(x), dtype=x.dtype)), True), g)

    return descend(
        evaluate,
        x,
        back,
        direction,
        (),
        lambda memory, s, y: memory,
        options,
        cautious=False,
        matrices=lambda iterations, evaluations: iterations,
    )


def _factor(b: jax.Array) -> jax.Array:
    """The lower Cholesky factor of b with enough added to its diagonal; NaN where b is not
    finite."""
    norm = jnp.linalg.norm(b)
    beta = jnp.where(norm > 0, BETA * norm, 1)
    least = jnp.min(jnp.diagonal(b), initial=jnp.inf)
    shift = jnp.where(least > 0, 0, beta - least).astype(b.dtype)

    def shifted(shift: jax.Array) -> jax.Array:
        return jnp.linalg.cholesky(b + shift * jnp.eye(len(b), dtype=b.dtype))

    def fails(carry: Any) -> jax.Array:
        return jnp.isfinite(norm) & ~jnp.isfinite(carry[1]).all()

    def again(carry: Any) -> Any:
        shift = jnp.maximum(2 * carry[0], beta)
        return shift, shifted(shift)

    lower = jax.lax.while_loop(fails, again, (shift, shifted(shift)))[1]
    return jnp.where(jnp.isfinite(norm), lower, jnp.nan)
