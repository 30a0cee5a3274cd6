"""Rprop for JAX, with optax's signature. Maths, options and source: bpx/optimizers/rprop.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.optimizers.rprop import SPEC
from bpx.profiles import profiled
from bpx.spec import require
from bpx_jax import _transform as tf


class ScaleByRpropState(NamedTuple):
    step_sizes: Any
    prev_updates: Any


@profiled("rprop", tf.renamed, beyond=("clamp_unchanged",))
def rprop(
    learning_rate: Any,
    eta_minus: Any = 0.5,
    eta_plus: Any = 1.2,
    min_step_size: Any = 1e-6,
    max_step_size: Any = 50.0,
    *,
    clamp_unchanged: bool = False,
) -> tf.GradientTransformation:
    """optax.rprop's arguments and state, but the step is taken at once.

    optax.rprop gives in each call the step it planned in the call before (0 in the first); the step
    sizes are the same. A state of optax goes on here with the step it has pending left out.

    Args:
        learning_rate: what the step sizes start with; a number, no schedule.
        eta_minus: factor of a step size where the gradient's sign turned, in (0, 1).
        eta_plus: factor where it did not, above 1.
        min_step_size: the smallest step size that a factor may give, at least 0.
        max_step_size: the largest.
        clamp_unchanged: hold a size to its limits in every step, as torch does.

    Raises:
        SpecError: an option outside its limits; a schedule.
    """
    require(
        not callable(learning_rate),
        "rprop: learning_rate is a schedule, expected a number (it is the first step size alone)",
    )
    etas, limits = (eta_minus, eta_plus), (min_step_size, max_step_size)
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        etas=(tf.known(eta_minus, 0.5), tf.known(eta_plus, 1.2)),
        step_sizes=limits if all(tf.known(x, None) is x for x in limits) else (0.0, 1.0),
    )

    def init(params: Any) -> Any:
        sizes = tf.full(params, learning_rate)
        return ScaleByRpropState(sizes, tf.zeros(params)), tf.EmptyState()

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        held, nothing = state

        def leaf(dtype: Any, g: Any, size: Any, last: Any) -> tuple[Any, Any, Any]:
            minus, plus = (tf.scalar(x, dtype) for x in etas)
            low, high = (tf.scalar(x, dtype) for x in limits)
            turn = jnp.sign(g) * jnp.sign(last)  # last has the sign of the last gradient
            factor = jnp.where(turn < 0, minus, jnp.where(turn > 0, plus, jnp.ones_like(g)))
            new = jnp.clip(size * factor, low, high)
            size = new if clamp_unchanged else jnp.where(turn == 0, size, new)
            d = jnp.where(turn < 0, jnp.zeros_like(g), size * jnp.sign(g))
            return -d, size, d

        updates, new = tf.map_leaves(SPEC.name, leaf, grads, tuple(held))
        return updates, (ScaleByRpropState(*new), nothing)

    return tf.GradientTransformation(init, update)
