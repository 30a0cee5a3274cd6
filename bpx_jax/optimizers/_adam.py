"""The leaf update that adam, amsgrad and adamw share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from bpx.spec import Optimizer
from bpx_jax import _move
from bpx_jax import _transform as tf


class ScaleByAdamState(NamedTuple):
    count: Any
    mu: Any
    nu: Any


class ScaleByAmsgradState(NamedTuple):
    count: Any
    mu: Any
    nu: Any
    nu_max: Any


def transformation(
    spec: Optimizer,
    learning_rate: Any,
    b1: Any,
    b2: Any,
    eps: Any,
    eps_root: Any,
    mu_dtype: Any,
    *,
    nesterov: bool = False,
    amsgrad: bool = False,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    decay: tf.Decay | None = None,
    eps_hat: bool = False,
    max_corrected: bool = True,
) -> tf.GradientTransformation:
    options = {} if decay is None else {"weight_decay": tf.known(decay.weight_decay, 0.0)}
    tf.check(
        spec,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        eps_root=tf.known(eps_root, 0.0),
        **options,
    )

    def init(params: Any) -> Any:
        moments = (tf.zero(), tf.zeros(params, mu_dtype), tf.zeros(params))
        adam = (
            ScaleByAmsgradState(*moments, tf.zeros(params))
            if amsgrad
            else ScaleByAdamState(*moments)
        )
        middle = () if decay is None else (decay.start(),)
        return (adam, *middle, tf.rate_start(learning_rate))

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        adam, *middle, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        wd, which = None, None
        if decay is not None:
            wd, which, middle[0] = decay.now(middle[0], grads, params)
        count = tf.advance(adam.count)

        def corrections(r1: Any, r2: Any, dtype: Any) -> tuple[Any, Any]:
            c1 = tf.unbiased(r1, count, dtype) if bias_correction_mu else 1.0
            c2 = tf.unbiased(r2, count, dtype) if bias_correction_nu else jnp.ones((), dtype)
            return c1, c2

        def leaf(dtype: Any, g: Any, m: Any, v: Any, v_max: Any, p: Any, decays: Any) -> Any:
            r1, r2, small, inside, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, eps_root, lr))
            m = r1 * m + (1 - r1) * g
            v = r2 * v + (1 - r2) * g * g
            c1, c2 = corrections(r1, r2, dtype)
            square = v
            if amsgrad:
                square = v_max = jnp.maximum(v_max, v / c2 if max_corrected else v)
                small = small / jnp.sqrt(c2) if eps_hat and max_corrected else small
                c2 = jnp.ones((), dtype) if max_corrected else c2  # corrected already
            ahead = m / c1
            if nesterov:
                ahead = m * (r1 / tf.unbiased(r1, count + 1, dtype)) + g * ((1 - r1) / c1)
            # x / (sqrt(v / c2 + inside) + small), with sqrt(c2) multiplied through: the correction
            # of the second moment costs no pass over the elements
            root = jnp.sqrt(c2)
            beside = small if eps_hat else small * root
            d = ahead * root / (jnp.sqrt(square + inside * c2) + beside)
            if decays:
                d = d + tf.scalar(wd, dtype) * p
            return -size * d, m, v, v_max

        def native(dtype: Any, g: Any, m: Any, v: Any, v_max: Any, p: Any, decays: Any) -> Any:
            if amsgrad:
                return None
            r1, r2, small, inside, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, eps_root, lr))
            c1, c2 = corrections(r1, r2, dtype)
            root = jnp.sqrt(c2)
            ahead, now = 1 / c1, 0.0
            if nesterov:
                ahead, now = r1 / tf.unbiased(r1, count + 1, dtype), (1 - r1) / c1
            shrink = tf.scalar(wd, dtype) * size if decays else 0.0
            beside = small if eps_hat else small * root
            forth = size * root
            rates = (r1, 1 - r1, r2, 1 - r2, forth * ahead, beside, inside * c2, shrink)
            variant = _move.DECAYS * bool(decays) + _move.OTHER * nesterov
            return _move.Call("adam", (*rates, forth * now), variant)

        largest = adam.nu_max if amsgrad else None
        moments = (adam.mu, adam.nu, largest)
        given = None if decay is None else params
        move = (params, native) if moving else None
        updates, (mu, nu, largest) = tf.map_leaves(
            spec.name, leaf, grads, moments, given, which, move=move
        )
        new = (count, mu, nu, largest) if amsgrad else (count, mu, nu)
        return updates, (type(adam)(*new), *middle, rate)

    return tf.moving(init, step)
