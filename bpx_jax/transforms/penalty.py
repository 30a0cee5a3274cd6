"""Penalties on the weights for JAX. Maths, options and source: bpx/transforms/penalty.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.transforms.penalty import DECAY, L1, L2
from bpx_jax import _transform as tf
from bpx_jax._around import check, leafwise, need


def l1_penalty(scale: Any) -> tf.GradientTransformation:
    """Add scale * sign(p) to the gradients.

    Raises:
        SpecError: scale is below 0 or not finite, or params is missing.
    """
    check(L1, scale=scale)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        need(L1, params)
        rule = lambda g, p: g + tf.scalar(scale, g.dtype) * jnp.sign(p)  # noqa: E731
        return leafwise(L1, rule, grads, params), state

    return tf.GradientTransformation(lambda params: tf.EmptyState(), update)


def l2_penalty(scale: Any, mask: Any = None) -> tf.GradientTransformation:
    """Add scale * p to what it is given.

    Before an optimizer these are the gradients: a penalty. After one, before the learning rate, it
    is a decoupled decay.

    Args:
        scale: a number, or a schedule (step count from 0 -> number).
        mask: which leaves, as a tree of bools or a function of the gradients; None takes all.

    Raises:
        SpecError: scale is below 0 or not finite, or params is missing.
    """
    check(L2, scale=scale)
    decay = tf.Decay(L2.name, scale, mask)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        now, which, state = decay.now(state, grads, params)

        def rule(dtype: Any, g: Any, p: Any, decays: Any) -> Any:
            return (g + tf.scalar(now, dtype) * p if decays else g,)

        updates, _ = tf.map_leaves(L2.name, rule, grads, (), params, which)
        return updates, state

    return tf.GradientTransformation(lambda params: decay.start(), update)


def decoupled_decay(
    inner: Any, learning_rate: Any, weight_decay: Any = 1e-2
) -> tf.GradientTransformation:
    """Any optimizer with -learning_rate * weight_decay * p added to its updates.

    Args:
        inner: the optimizer, its learning rate included.
        learning_rate: the same number or schedule that inner has.
        weight_decay: a number.

    Raises:
        SpecError: a number is below 0 or not finite, or params is missing.
    """
    check(DECAY, lr=learning_rate, weight_decay=weight_decay)

    def init(params: Any) -> Any:
        return inner.init(params), tf.rate_start(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        need(DECAY, params)
        updates, held = inner.update(grads, state[0], params, **extra)
        lr, rate = tf.rate_now(learning_rate, state[1])

        def rule(u: Any, p: Any) -> Any:
            return u - tf.scalar(lr, u.dtype) * tf.scalar(weight_decay, u.dtype) * p

        return leafwise(DECAY, rule, updates, params), (held, rate)

    return tf.GradientTransformation(init, update)
