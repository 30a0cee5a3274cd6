"""Lion for JAX, with optax's signatures. Maths, options and source: bpx/optimizers/lion.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.optimizers.lion import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf


class ScaleByLionState(NamedTuple):
    count: Any
    mu: Any


@profiled("lion", tf.renamed)
def lion(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.99,
    mu_dtype: Any = None,
    weight_decay: Any = 1e-3,
    mask: Any = None,
) -> tf.GradientTransformation:
    """As optax.lion: `update` needs the parameters.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: how much of the momentum enters the direction, in [0, 1).
        b2: decay of the momentum, in [0, 1).
        mu_dtype: dtype of the momentum; None takes each parameter's.
        weight_decay: a number, or a schedule; multiplied by the learning rate.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        weight_decay=tf.known(weight_decay, 0.0),
    )
    decay = tf.Decay(SPEC.name, weight_decay, mask)

    def init(params: Any) -> Any:
        held = ScaleByLionState(tf.zero(), tf.zeros(params, mu_dtype))
        return held, decay.start(), tf.rate_start(learning_rate)

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        held, decays, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        wd, which, decays = decay.now(decays, grads, params)

        def leaf(dtype: Any, g: Any, m: Any, p: Any, has: Any) -> tuple[Any, Any]:
            r1, r2 = tf.scalar(b1, dtype), tf.scalar(b2, dtype)
            d = jnp.sign(r1 * m + (1 - r1) * g)
            if has:
                d = d + tf.scalar(wd, dtype) * p
            return -tf.scalar(lr, dtype) * d, r2 * m + (1 - r2) * g

        def native(dtype: Any, g: Any, m: Any, p: Any, has: Any) -> Any:
            r1, r2, size = (tf.scalar(x, dtype) for x in (b1, b2, lr))
            shrink = tf.scalar(wd, dtype) * size if has else 0.0
            rates = (r1, 1 - r1, r2, 1 - r2, size, shrink)
            return _move.Call("signs", rates, _move.DECAYS * bool(has))

        move = (params, native) if moving else None
        updates, (mu,) = tf.map_leaves(SPEC.name, leaf, grads, (held.mu,), params, which, move=move)
        return updates, (ScaleByLionState(tf.advance(held.count), mu), decays, rate)

    return tf.moving(init, step)


def sign_sgd(learning_rate: Any) -> tf.GradientTransformation:
    """As optax.sign_sgd: Lion without momentum (both betas 0) and without decay, so without state.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).

    Raises:
        SpecError: the learning rate is outside its limits.
    """
    tf.check(SPEC, lr=tf.known(learning_rate, 0.0))

    def init(params: Any) -> Any:
        return tf.EmptyState(), tf.rate_start(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        nothing, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)

        def leaf(dtype: Any, g: Any) -> tuple[Any]:
            return (-tf.scalar(lr, dtype) * jnp.sign(g),)

        updates, _ = tf.map_leaves(SPEC.name, leaf, grads, ())
        return updates, (nothing, rate)

    return tf.GradientTransformation(init, update)
