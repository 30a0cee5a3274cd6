"""Shampoo for JAX, in optax's style. Maths, options and source: bpx/optimizers/shampoo.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.shampoo import SPEC
from bpx_jax import _transform as tf
from bpx_jax._packed import WHOLE, refuse


class ScaleByShampooState(NamedTuple):
    count: Any
    mu: Any
    preconditioners: Any
    roots: Any


def shampoo(
    learning_rate: Any,
    momentum: Any = None,
    weight_decay: Any = 0.0,
    eps: Any = 1e-4,
    update_freq: int = 1,
    beta2: Any = 1.0,
    exponent: Any = None,
    max_dim: int = 1200,
    mask: Any = None,
) -> tf.GradientTransformation:
    """A preconditioner for each axis of a leaf; optax has none.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        momentum: decay of the running mean of gradients that is preconditioned; None keeps none.
        weight_decay: a number, or a schedule; decoupled, multiplied by the learning rate.
        eps: added to the diagonal of the preconditioners, above 0.
        update_freq: steps from one computation of the roots to the next.
        beta2: decay of the preconditioners; 1 sums.
        exponent: of the inverse; None is 1 / (2 * the number of axes).
        max_dim: longer axes have a diagonal preconditioner.
        mask: a tree of bools (or a prefix of one, or a function of the gradients that gives one):
            which leaves decay. None decays all.

    The preconditioners of a 16-bit leaf are float32.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        momentum=0.0 if momentum is None else tf.known(momentum, 0.5),
        weight_decay=tf.known(weight_decay, 0.0),
        eps=tf.known(eps, 1.0),
        update_freq=update_freq,
        beta2=tf.known(beta2, 1.0),
        exponent=None if exponent is None else tf.known(exponent, 0.5),
        max_dim=max_dim,
    )
    decay = tf.Decay(SPEC.name, weight_decay, mask)

    def init(params: Any) -> Any:
        refuse(SPEC.name, params, WHOLE)

        def start(p: Any) -> Any:
            p = jnp.asarray(p)
            kind = jnp.float64 if p.dtype == jnp.float64 else jnp.float32
            shape = p.shape or (1,)
            return tuple(jnp.zeros((n, n) if n <= max_dim else n, kind) for n in shape)

        mu = None if momentum is None else tf.zeros(params)
        roots = jax.tree.map(start, params) if update_freq > 1 else None
        scale = ScaleByShampooState(tf.zero(), mu, jax.tree.map(start, params), roots)
        return scale, decay.start(), tf.rate_start(learning_rate)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        refuse(SPEC.name, grads, WHOLE)
        scale, decaying, rate = state
        wd, decays, decaying = decay.now(decaying, grads, params)
        lr, rate = tf.rate_now(learning_rate, rate)
        due = scale.count % update_freq == 0
        tree = jax.tree.structure(grads)
        held = iter(tree.flatten_up_to(scale.preconditioners))
        known = iter(
            [None] * tree.num_leaves if scale.roots is None else tree.flatten_up_to(scale.roots)
        )
        kept: list[Any] = []
        roots: list[Any] = []

        def leaf(dtype: Any, g: Any, m: Any, p: Any, decays: Any) -> Any:
            d = g
            if m is not None:
                along = tf.scalar(momentum, dtype)
                d = m = along * m + (1 - along) * g
            shape = g.shape or (1,)
            g, d = g.reshape(shape), d.reshape(shape)
            power = 1 / (2 * len(shape)) if exponent is None else tf.scalar(exponent, dtype)
            old, given = next(held), next(known)
            hs, inverses = [], []
            for i, h in enumerate(old):
                rows = jnp.moveaxis(g, i, 0).reshape(shape[i], g.size // max(shape[i], 1))
                product = rows @ rows.T if h.ndim == 2 else jnp.sum(rows * rows, axis=1)
                if isinstance(beta2, (int, float)) and beta2 == 1:
                    h = h + product
                else:
                    keep = tf.scalar(beta2, dtype)
                    h = keep * h + (1 - keep) * product
                small = tf.scalar(eps, dtype)
                held_root = None if given is None else given[i]
                inverse = _root(h, small, power, due, held_root)
                turned = jnp.moveaxis(d, i, -1)
                turned = (
                    turned @ inverse
                    if h.ndim == 2
                    else turned * jnp.broadcast_to(inverse, turned.shape)
                )
                d = jnp.moveaxis(turned, -1, i)
                hs.append(h)
                inverses.append(inverse)
            kept.append(tuple(hs))
            roots.append(tuple(inverses))
            d = d.reshape(p.shape)
            if decays:
                d = d + tf.scalar(wd, dtype) * p
            return -tf.scalar(lr, dtype) * d, m

        updates, (mu,) = tf.map_leaves(SPEC.name, leaf, grads, (scale.mu,), params, decays)
        after = None if scale.roots is None else tree.unflatten(roots)
        scale = ScaleByShampooState(tf.advance(scale.count), mu, tree.unflatten(kept), after)
        return updates, (scale, decaying, rate)

    return tf.GradientTransformation(init, update)


def _root(h: Any, eps: Any, power: Any, due: Any, held: Any) -> Any:
    """(h + eps I)^-power, or the one that is held where there is one and it is not due."""

    def new(h: Any) -> Any:
        if h.ndim == 1:
            return (h + eps) ** -power
        values, vectors = jnp.linalg.eigh(h)
        scales = (jnp.maximum(values, jnp.zeros_like(values)) + eps) ** -power
        return (vectors * jnp.broadcast_to(scales, vectors.shape)) @ vectors.T

    if held is None:
        return new(h)
    return jax.lax.cond(due, lambda h, held: new(h), lambda h, held: held, h, held)
