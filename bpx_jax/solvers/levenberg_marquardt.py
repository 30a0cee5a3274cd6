"""Levenberg-Marquardt for JAX. Maths, options and source: bpx/solvers/levenberg_marquardt.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from bpx.solvers._wolfe import NOISE
from bpx_jax.solvers import _flat
from bpx_jax.solvers._flat import GOING, Result, flatten, largest
from bpx_jax.solvers.gauss_newton import linearised


class State(NamedTuple):
    x: jax.Array
    f: jax.Array
    g: jax.Array
    a: jax.Array  # J^T J
    mu: jax.Array
    nu: jax.Array
    iterations: jax.Array
    evaluations: jax.Array
    code: jax.Array


def levenberg_marquardt(
    residuals: Callable[[Any], Any],
    params: Any,
    *,
    max_iter: int = 200,
    max_eval: int | None = None,
    tolerance_grad: float = 1e-7,
    tolerance_change: float = 1e-9,
    tau: float = 1e-3,
) -> Result:
    """Minimise half the sum of squared residuals. Arguments and errors: as `gauss_newton`, and

    Args:
        tau: the first damping, relative to the largest diagonal element of J^T J.
    """
    options = {
        "max_iter": max_iter,
        "max_eval": max_eval,
        "tolerance_grad": tolerance_grad,
        "tolerance_change": tolerance_change,
        "tau": tau,
    }
    x, back = flatten("levenberg_marquardt", params, options)
    rows = linearised("levenberg_marquardt", residuals, back, x.dtype)
    noise, limit = float(jnp.finfo(x.dtype).eps) ** NOISE, _flat.most(max_eval)

    def at(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        r, jacobian = rows(x)
        return jnp.sum(r * r) / 2, r @ jacobian, jacobian.T @ jacobian

    def finite(f: jax.Array, g: jax.Array, a: jax.Array) -> jax.Array:
        return jnp.isfinite(f) & jnp.isfinite(g).all() & jnp.isfinite(a).all()

    def step(s: State) -> State:
        damped = s.a + s.mu * jnp.eye(len(s.x), dtype=s.a.dtype)
        h = -cho_solve((jnp.linalg.cholesky(damped), True), s.g)
        code = jnp.where(s.evaluations >= limit, _flat.MAX_EVAL, GOING)
        small = (largest(h) <= tolerance_change) | (s.x + h == s.x).all()
        why = jnp.where(s.nu > 2, _flat.SEARCH_FAILED, _flat.SMALL_CHANGE)
        code = jnp.where(small, why, code)

        def move(s: State) -> State:
            f, g, a = at(s.x + h)
            fall = s.f - f
            rounding = jnp.abs(fall) <= noise * jnp.maximum(s.f, f)
            fall = jnp.where(rounding, -(h @ (s.g + g)) / 2, fall)
            gain = jnp.where(finite(f, g, a), fall / ((h @ (s.mu * h - s.g)) / 2), 0)
            better = gain > 0
            shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
            iterations = s.iterations + 1
            code = jnp.where(iterations == max_iter, _flat.MAX_ITER, GOING)
            code = jnp.where(better & (largest(g) <= tolerance_grad), _flat.CONVERGED, code)
            x, f, g, a = (
                jnp.where(better, new, old)
                for new, old in ((s.x + h, s.x), (f, s.f), (g, s.g), (a, s.a))
            )
            mu = s.mu * jnp.where(better, shrink, s.nu)
            nu = jnp.where(better, 2, 2 * s.nu)
            return State(x, f, g, a, mu, nu, iterations, s.evaluations + 1, code.astype(jnp.int32))

        def stop(s: State) -> State:
            return s._replace(code=code.astype(jnp.int32))

        return jax.lax.cond(code == GOING, move, stop, s)

    f, g, a = at(x)
    code = jnp.where(largest(g) <= tolerance_grad, _flat.CONVERGED, GOING)
    code = jnp.where(finite(f, g, a), code, _flat.NON_FINITE).astype(jnp.int32)
    mu = (tau * jnp.max(jnp.diagonal(a), initial=0)).astype(x.dtype)
    zero, one = jnp.zeros((), jnp.int32), jnp.ones((), jnp.int32)
    state = State(x, f, g, a, mu, jnp.full((), 2, x.dtype), zero, one, code)
    end = jax.lax.while_loop(lambda s: s.code == GOING, step, state)
    return Result(
        back(end.x),
        end.f,
        largest(end.g),
        end.iterations,
        end.evaluations,
        end.evaluations,
        end.code,
    )
