"""JAX's usual formulation of the linear recurrence, a scan, for bpx_jax/oracles.py."""

import jax
import jax.numpy as jnp


def _linear_recurrence(a, b, h0=None, *, reverse=False):
    def step(h, at):
        h = at[0] * h + at[1]
        return h, h

    start = jnp.zeros_like(a.sum(-2)) if h0 is None else h0
    steps = jnp.moveaxis(a, -2, 0), jnp.moveaxis(b, -2, 0)
    return jnp.moveaxis(jax.lax.scan(step, start, steps, reverse=reverse)[1], 0, -2)


ORACLES = {"linear_recurrence": _linear_recurrence}
DIFFERS: dict[str, dict[str, str]] = {}
