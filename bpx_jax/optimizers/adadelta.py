"""Adadelta for JAX, with optax's signature. Maths, options and source:
bpx/optimizers/adadelta.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.optimizers.adadelta import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf


class ScaleByAdaDeltaState(NamedTuple):
    e_g: Any
    e_x: Any


@profiled("adadelta", tf.renamed)
def adadelta(
    learning_rate: Any = None,
    rho: Any = 0.9,
    eps: Any = 1e-6,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = None,
) -> tf.GradientTransformation:
    """As optax.adadelta: `update` needs the parameters.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number). None is refused:
            optax would leave out the sign with the rate, and climb.
        rho: decay of both running means, in [0, 1].
        eps: added inside both roots.
        weight_decay: an L2 penalty, a number or a schedule.
        weight_decay_mask: a tree of bools (or a prefix of one, or a function of the gradients that
            gives one): which leaves have the penalty. None takes all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        rho=tf.known(rho, 0.0),
        eps=tf.known(eps, 0.0),
        weight_decay=tf.known(weight_decay, 0.0),
    )
    decay = tf.Decay(SPEC.name, weight_decay, weight_decay_mask)

    def init(params: Any) -> Any:
        means = ScaleByAdaDeltaState(tf.zeros(params), tf.zeros(params))
        return decay.start(), means, tf.rate_start(learning_rate)

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        decays, means, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        wd, which, decays = decay.now(decays, grads, params)

        def leaf(dtype: Any, g: Any, v: Any, u: Any, p: Any, has: Any) -> tuple[Any, Any, Any]:
            keep, small = tf.scalar(rho, dtype), tf.scalar(eps, dtype)
            if has:
                g = g + tf.scalar(wd, dtype) * p
            v = keep * v + (1 - keep) * g * g
            d = jnp.sqrt((u + small) / (v + small)) * g
            u = keep * u + (1 - keep) * d * d
            return -tf.scalar(lr, dtype) * d, v, u

        def native(dtype: Any, g: Any, v: Any, u: Any, p: Any, has: Any) -> Any:
            keep, small, size = (tf.scalar(x, dtype) for x in (rho, eps, lr))
            penalty = tf.scalar(wd, dtype) if has else 0.0
            rates = (keep, 1 - keep, small, size, penalty)
            return _move.Call("deltas", rates, _move.DECAYS * bool(has))

        move = (params, native) if moving else None
        updates, news = tf.map_leaves(
            SPEC.name, leaf, grads, tuple(means), params, which, move=move
        )
        return updates, (decays, ScaleByAdaDeltaState(*news), rate)

    return tf.moving(init, step)
