"""LAMB for JAX, with optax's signature. Maths, options and source: bpx/optimizers/lamb.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.optimizers.lamb import SPEC
from bpx.profiles import profiled
from bpx_jax import _transform as tf
from bpx_jax._packed import WHOLE, refuse
from bpx_jax.optimizers import _trust
from bpx_jax.optimizers._adam import ScaleByAdamState


@profiled("lamb", tf.renamed)
def lamb(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-6,
    eps_root: Any = 0.0,
    weight_decay: Any = 0.0,
    mask: Any = None,
) -> tf.GradientTransformation:
    """As optax.lamb: every leaf is scaled by the ratio, and no gradient is clipped.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added after the root.
        eps_root: added inside the root.
        weight_decay: a number, or a schedule; scaled by the ratio and the learning rate.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        eps_root=tf.known(eps_root, 0.0),
        weight_decay=tf.known(weight_decay, 0.0),
    )
    decay = tf.Decay(SPEC.name, weight_decay, mask)

    def init(params: Any) -> Any:
        refuse(SPEC.name, params, WHOLE)
        moments = ScaleByAdamState(tf.zero(), tf.zeros(params), tf.zeros(params))
        return moments, decay.start(), tf.EmptyState(), tf.rate_start(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        refuse(SPEC.name, grads, WHOLE)
        adam, decaying, empty, rate = state
        _trust.require_params(SPEC, params)
        wd, decays, decaying = decay.now(decaying, grads, params)
        lr, rate = tf.rate_now(learning_rate, rate)
        count = tf.advance(adam.count)

        def leaf(dtype: Any, g: Any, m: Any, v: Any, p: Any, decays: Any) -> Any:
            r1, r2, small, inside, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, eps_root, lr))
            m = r1 * m + (1 - r1) * g
            v = r2 * v + (1 - r2) * g * g
            c1, c2 = tf.unbiased(r1, count, dtype), tf.unbiased(r2, count, dtype)
            d = (m / c1) / (jnp.sqrt(v / c2 + inside) + small)
            if decays:
                d = d + tf.scalar(wd, dtype) * p
            return -size * _trust.trust(_trust.norm(p), _trust.norm(d)) * d, m, v

        updates, (mu, nu) = tf.map_leaves(
            SPEC.name, leaf, grads, (adam.mu, adam.nu), params, decays
        )
        return updates, (ScaleByAdamState(count, mu, nu), decaying, empty, rate)

    return tf.GradientTransformation(init, update)
