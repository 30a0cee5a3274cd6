"""NAdam with its momentum schedule for JAX. Maths, options and source: bpx/optimizers/nadam.py."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.optimizers.nadam import SPEC
from bpx.profiles import profiled
from bpx_jax import _transform as tf

LOG = math.log2(0.96)


class ScaleByNadamState(NamedTuple):
    count: Any
    mu: Any
    nu: Any
    mu_product: Any  # one number, of all momenta so far


@profiled("nadam", tf.renamed)
def scheduled_nadam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    weight_decay: Any = 0.0,
    momentum_decay: Any = 4e-3,
    decoupled_weight_decay: bool = False,
    mask: Any = None,
) -> tf.GradientTransformation:
    """NAdam as in torch.optim. optax has none: its nadam, here too, keeps the momentum constant.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: decay of the first moment, and what the momentum tends to, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added after the root.
        weight_decay: a number, or a schedule. A plain 0 needs no parameters in `update`.
        momentum_decay: how fast the momentum warms up, at least 0.
        decoupled_weight_decay: decay the parameters, times the learning rate, not the gradients.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params where there is a decay.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        weight_decay=tf.known(weight_decay, 0.0),
        momentum_decay=tf.known(momentum_decay, 0.0),
    )
    none = isinstance(weight_decay, (int, float)) and weight_decay == 0
    decay = None if none else tf.Decay(SPEC.name, weight_decay, mask)

    def init(params: Any) -> Any:
        one = jnp.ones(())  # in the widest dtype that JAX is set to
        held = ScaleByNadamState(tf.zero(), tf.zeros(params), tf.zeros(params), one)
        middle = () if decay is None else (decay.start(),)
        return (held, *middle, tf.rate_start(learning_rate))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        held, *middle, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        wd, which = None, None
        if decay is not None:
            wd, which, middle[0] = decay.now(middle[0], grads, params)
        count, wide = tf.advance(held.count), held.mu_product.dtype

        def momentum(t: Any) -> Any:
            warm = jnp.exp2(t.astype(wide) * tf.scalar(momentum_decay, wide) * LOG)
            return tf.scalar(b1, wide) * (1 - 0.5 * warm)

        mu, ahead = momentum(count), momentum(count + 1)
        product = held.mu_product * mu
        now, later = (1 - mu) / (1 - product), ahead / (1 - product * ahead)

        def leaf(dtype: Any, g: Any, m: Any, v: Any, p: Any, has: Any) -> tuple[Any, Any, Any]:
            r1, r2, small, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, lr))
            if has and not decoupled_weight_decay:
                g = g + tf.scalar(wd, dtype) * p
            m = r1 * m + (1 - r1) * g
            v = r2 * v + (1 - r2) * g * g
            # the root of 1 - b2^t is multiplied through, as in _adam.py
            root = jnp.sqrt(tf.unbiased(r2, count, dtype))
            blend = tf.scalar(now, dtype) * g + tf.scalar(later, dtype) * m
            d = blend * root / (jnp.sqrt(v) + small * root)
            if has and decoupled_weight_decay:
                d = d + tf.scalar(wd, dtype) * p
            return -size * d, m, v

        given, moments = None if decay is None else params, (held.mu, held.nu)
        updates, (m, v) = tf.map_leaves(SPEC.name, leaf, grads, moments, given, which)
        return updates, (ScaleByNadamState(count, m, v, product), *middle, rate)

    return tf.GradientTransformation(init, update)
