"""RAdam for JAX, with optax's signature. Maths, options and source: bpx/optimizers/radam.py."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from bpx.optimizers.radam import SPEC
from bpx.profiles import profiled
from bpx_jax import _transform as tf
from bpx_jax.optimizers._adam import ScaleByAdamState


@profiled(
    "radam",
    tf.renamed,
    skip=("weight_decay", "decoupled_weight_decay"),
    beyond=("eps_corrected", "inclusive"),
)
def radam(
    learning_rate: Any,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    threshold: Any = 5.0,
    *,
    nesterov: bool = False,
    eps_corrected: bool = True,
    inclusive: bool = True,
) -> tf.GradientTransformation:
    """As optax.radam: eps is added after the bias correction, and rho may equal the threshold.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        b1: decay of the first moment, in [0, 1).
        b2: decay of the second moment, in [0, 1).
        eps: added after the root.
        eps_root: added inside the root.
        threshold: the length of the average from which on it is used, at least 4.
        nesterov: look one step ahead in the first moment.
        eps_corrected: False adds eps to the root before the bias correction, as torch does.
        inclusive: False asks for rho above the threshold, as torch does.

    Raises:
        SpecError: an option outside its limits; a threshold below 4, where optax gives NaN or a
            number without meaning.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        betas=(tf.known(b1, 0.0), tf.known(b2, 0.0)),
        eps=tf.known(eps, 0.0),
        eps_root=tf.known(eps_root, 0.0),
        threshold=tf.known(threshold, 5.0),
        eps_corrected=eps_corrected,
    )

    def init(params: Any) -> Any:
        moments = ScaleByAdamState(tf.zero(), tf.zeros(params), tf.zeros(params))
        return moments, tf.rate_start(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        held, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)
        count = tf.advance(held.count)

        def leaf(dtype: Any, g: Any, m: Any, v: Any) -> tuple[Any, Any, Any]:
            r1, r2, small, inside, size = (tf.scalar(x, dtype) for x in (b1, b2, eps, eps_root, lr))
            m = r1 * m + (1 - r1) * g
            v = r2 * v + (1 - r2) * g * g
            c1, c2 = tf.unbiased(r1, count, dtype), tf.unbiased(r2, count, dtype)
            d = m / c1
            if nesterov:
                d = m * (r1 / tf.unbiased(r1, count + 1, dtype)) + g * ((1 - r1) / c1)
            length, top = _length(r2, count, dtype), (1 + r2) / (1 - r2)
            far = jnp.maximum(length, 4.0)  # no root of a negative number in the unused branch
            r = jnp.sqrt((far - 4) / (top - 4) * ((far - 2) / (top - 2)) * (top / far))
            if eps_corrected:
                shrunk = r * d / (jnp.sqrt(v / c2 + inside) + small)
            else:
                shrunk = r * d * jnp.sqrt(c2) / (jnp.sqrt(v) + small)
            least = tf.scalar(threshold, dtype)
            return -size * jnp.where(_reaches(length, least, inclusive), shrunk, d), m, v

        moments = (held.mu, held.nu)
        updates, (mu, nu) = tf.map_leaves(SPEC.name, leaf, grads, moments)
        return updates, (ScaleByAdamState(count, mu, nu), rate)

    return tf.GradientTransformation(init, update)


def _reaches(length: Any, least: Any, inclusive: bool) -> Any:
    return length >= least if inclusive else length > least


def _length(b2: Any, count: Any, dtype: Any) -> Any:
    """rho: how many gradients the second moment rests on.

    Its two terms cancel, of size 2 / (1 - b2), which float64 can afford. In float32 it is written
    with S(y) = 1 - coth y + 1 / y, which is near 1 for small y: for b2 = exp(-2 h)

        rho = coth h - t (coth(t h) - 1) = t S(t h) + 1 - S(h)
    """
    t = count.astype(dtype)
    if dtype == jnp.float64:
        power = jnp.power(jnp.asarray(b2, dtype), t)
        return (2 / (1 - b2) - 1) - 2 * t * power / (1 - power)
    h = jnp.asarray(-0.5 * tf.log(b2), dtype)
    return t * _share(t * h) + 1 - _share(h)


def _share(y: Any) -> Any:
    """1 - coth y + 1 / y for y >= 0, by the series of coth where that and 1 / y cancel."""
    series = y / 3 * (1 - y * y / 15 * (1 - 2 * y * y / 21 * (1 - y * y / 10)))
    near = y < 0.5
    big = jnp.where(near, jnp.ones_like(y), y)
    return jnp.where(near, 1 - series, 1 / big - 2 / jnp.expm1(2 * big))
