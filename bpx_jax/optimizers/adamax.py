"""Adamax for JAX, with optax's signatures. Maths, options and source: bpx/optimizers/adamax.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.optimizers.adamax import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf
from bpx_jax.optimizers._adam import ScaleByAdamState


@profiled(
    "adamax",
    tf.renamed,
    skip=("weight_decay", "decoupled_weight_decay"),
    beyond=("eps_outside",),
)
def adamax(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    *,
    eps_outside: bool = False,
) -> tf.GradientTransformation:
    """As optax.adamax.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: decay of the first moment, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the size of the gradient, inside the maximum.
        eps_outside: add it to the maximum instead, as keras does.

    Raises:
        SpecError: an option outside its limits.
    """
    return _transformation(learning_rate, b1, b2, eps, None, eps_outside)


def adamaxw(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 1e-4,
    mask: Any = None,
) -> tf.GradientTransformation:
    """As optax.adamaxw, Adamax with decoupled weight decay: `update` needs the parameters.

    Args:
        learning_rate, b1, b2, eps: as in `adamax`.
        weight_decay: a number, or a schedule; multiplied by the learning rate.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    return _transformation(learning_rate, b1, b2, eps, tf.Decay(SPEC.name, weight_decay, mask))


def _transformation(
    learning_rate: Any,
    b1: Any,
    b2: Any,
    eps: Any,
    decay: tf.Decay | None,
    eps_outside: bool = False,
) -> tf.GradientTransformation:
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        weight_decay=0.0 if decay is None else tf.known(decay.weight_decay, 0.0),
    )

    def init(params: Any) -> Any:
        moments = ScaleByAdamState(tf.zero(), tf.zeros(params), tf.zeros(params))
        middle = () if decay is None else (decay.start(),)
        return (moments, *middle, tf.rate_start(learning_rate))

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        held, *middle, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        wd, which = None, None
        if decay is not None:
            wd, which, middle[0] = decay.now(middle[0], grads, params)
        count = tf.advance(held.count)

        def leaf(dtype: Any, g: Any, m: Any, u: Any, p: Any, has: Any) -> tuple[Any, Any, Any]:
            r1, r2, small, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, lr))
            m = r1 * m + (1 - r1) * g
            u = jnp.maximum(r2 * u, jnp.abs(g) if eps_outside else jnp.abs(g) + small)
            d = m / (tf.unbiased(r1, count, dtype) * (u + small if eps_outside else u))
            if has:
                d = d + tf.scalar(wd, dtype) * p
            return -size * d, m, u

        def native(dtype: Any, g: Any, m: Any, u: Any, p: Any, has: Any) -> Any:
            r1, r2, small, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, lr))
            within, beside = (0.0, small) if eps_outside else (small, 0.0)
            shrink = tf.scalar(wd, dtype) * size if has else 0.0
            rate = size / tf.unbiased(r1, count, dtype)
            rates = (r1, 1 - r1, r2, rate, within, beside, shrink)
            return _move.Call("maxima", rates, _move.DECAYS * bool(has))

        given = None if decay is None else params
        updates, (mu, nu) = tf.map_leaves(
            SPEC.name,
            leaf,
            grads,
            (held.mu, held.nu),
            given,
            which,
            move=(params, native) if moving else None,
        )
        return updates, (ScaleByAdamState(count, mu, nu), *middle, rate)

    return tf.moving(init, step)
