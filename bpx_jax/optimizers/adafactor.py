"""Adafactor for JAX, optax's signature. Maths, options, source: bpx/optimizers/adafactor.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.adafactor import SPEC, axes
from bpx.spec import SpecError
from bpx_jax import _transform as tf
from bpx_jax._packed import WHOLE, refuse


class FactoredState(NamedTuple):
    count: Any
    v_row: Any
    v_col: Any
    v: Any


class EmaState(NamedTuple):
    count: Any
    ema: Any


def adafactor(
    learning_rate: Any = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: Any = 0.8,
    decay_offset: Any = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Any = 1.0,
    momentum: Any = None,
    dtype_momentum: Any = jnp.float32,
    weight_decay_rate: Any = None,
    eps: Any = 1e-30,
    factored: bool = True,
    weight_decay_mask: Any = None,
) -> tf.GradientTransformation:
    """As optax.adafactor, with the decay of the moments in the leaf's own precision.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number). None is 1.
        min_dim_size_to_factor: an array is factored along its two longest axes where the shorter
            of them has this size.
        decay_rate: the decay of the moments is 1 - t^-decay_rate.
        decay_offset: subtracted from the step count in it, the first step of a later phase.
        multiply_by_parameter_scale: steps are relative to the root mean square of the leaf.
        clipping_threshold: of the root mean square of a step; None does not clip.
        momentum: the decay of a running mean of steps; None keeps none.
        dtype_momentum: its dtype.
        weight_decay_rate: a number, or a schedule; not multiplied by the learning rate.
        eps: added to the squared gradient. With 0, an element without any gradient so far stays.
        factored: False keeps a second moment per element.
        weight_decay_mask: a tree of bools (or a prefix of one, or a function of the gradients that
            gives one): which leaves decay. None decays all.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=1.0 if learning_rate is None else tf.known(learning_rate, 0.0),
        beta2_decay=-tf.known(decay_rate, 0.8),
        eps=(tf.known(eps, 0.0), 1e-3),
        d=tf.known(clipping_threshold, 1.0),
        momentum=0.0 if momentum is None else tf.known(momentum, 0.0),
        weight_decay=0.0 if weight_decay_rate is None else tf.known(weight_decay_rate, 0.0),
        min_dim_size_to_factor=min_dim_size_to_factor,
    )
    factoring = {
        "factored": factored,
        "largest_axes": True,
        "min_dim_size_to_factor": min_dim_size_to_factor,
    }
    decay = tf.Decay(SPEC.name, weight_decay_rate, weight_decay_mask)

    def init(params: Any) -> Any:
        refuse(SPEC.name, params, WHOLE)

        def moment(which: int) -> Any:
            def start(p: Any) -> Any:
                p = jnp.asarray(p)
                pair = axes(p.shape, factoring)
                if (pair is None) != (which == 2):
                    return jnp.zeros((1,), p.dtype)
                return jnp.zeros_like(p) if pair is None else jnp.zeros_like(p.sum(pair[1 - which]))

            return jax.tree.map(start, params)

        state: list[Any] = [FactoredState(tf.zero(), *(moment(i) for i in range(3)))]
        state += [tf.EmptyState()] if clipping_threshold is not None else []
        state += [tf.rate_start(learning_rate)] if learning_rate is not None else []
        state += [tf.EmptyState()] if multiply_by_parameter_scale else []
        if momentum is not None:
            state.append(EmaState(tf.zero(), tf.zeros(params, dtype_momentum)))
        state += [decay.start()] if weight_decay_rate is not None else []
        return (*state, tf.EmptyState())

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        refuse(SPEC.name, grads, WHOLE)
        if params is None:
            raise SpecError("adafactor: params is None, expected the parameters")
        held = list(state)
        at = 1 + (clipping_threshold is not None)
        lr: Any = 1.0
        if learning_rate is not None:
            lr, held[at] = tf.rate_now(learning_rate, held[at])
            at += 1
        at += bool(multiply_by_parameter_scale)
        means = None
        if momentum is not None:
            means, place = held[at].ema, at
            at += 1
        wd, decays = None, None
        if weight_decay_rate is not None:
            wd, decays, held[at] = decay.now(held[at], grads, params)
        moments = held[0]
        elapsed = jnp.maximum(moments.count + 1 - decay_offset, 1)

        def leaf(
            dtype: Any, g: Any, row: Any, col: Any, v: Any, m: Any, p: Any, decays: Any
        ) -> tuple[Any, ...]:
            small, size = tf.scalar(eps, dtype), tf.scalar(lr, dtype)
            keep = -jnp.expm1(-tf.scalar(decay_rate, dtype) * jnp.log(elapsed.astype(dtype)))
            square = g * g + small
            pair = axes(g.shape, factoring)
            if pair is None:
                v = keep * v + (1 - keep) * square
                d = g * _inverse_root(v)
            else:
                down, along = pair
                row = keep * row + (1 - keep) * _mean(square, along)
                col = keep * col + (1 - keep) * _mean(square, down)
                middle = _mean(row, down - (down > along), keepdims=True)
                share = row / jnp.where(middle > 0, middle, jnp.ones_like(middle))
                d = g * jnp.expand_dims(_inverse_root(share), along)
                d = d * jnp.expand_dims(_inverse_root(col), down)
            if clipping_threshold is not None:
                over = _rms(d) / tf.scalar(clipping_threshold, dtype)
                d = d / jnp.maximum(over, jnp.ones_like(over))
            if multiply_by_parameter_scale:
                size = size * jnp.maximum(_rms(p), jnp.asarray(1e-3, dtype))
            d = size * d
            if m is not None:
                along_path = tf.scalar(momentum, dtype)
                m = d = along_path * m + (1 - along_path) * d
            if decays:
                d = d + tf.scalar(wd, dtype) * p
            return -d, row, col, v, m

        states = (moments.v_row, moments.v_col, moments.v, means)
        updates, (rows, cols, vs, means) = tf.map_leaves(
            SPEC.name, leaf, grads, states, params, decays
        )
        held[0] = FactoredState(tf.advance(moments.count), rows, cols, vs)
        if momentum is not None:
            held[place] = EmaState(tf.advance(held[place].count), means)
        return updates, tuple(held)

    return tf.GradientTransformation(init, update)


def _mean(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The mean; 0 of nothing."""
    count = x.size if axis is None else x.shape[axis]
    return jnp.sum(x, axis=axis, keepdims=keepdims) / max(count, 1)


def _rms(x: Any) -> Any:
    return jnp.sqrt(_mean(x * x))


def _inverse_root(x: Any) -> Any:
    """1 / sqrt(x), and 0 where x is 0."""
    return jnp.where(x > 0, jax.lax.rsqrt(jnp.where(x > 0, x, jnp.ones_like(x))), jnp.zeros_like(x))
