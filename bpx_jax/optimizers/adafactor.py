"""Adafactor for JAX, optax's signature. Maths, options, source: bpx/optimizers/adafactor.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.optimizers.adafactor import SPEC, axes
from bpx.profiles import profiled
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


BEYOND = ("eps2", "eps_in_square", "relative_step", "decay_by_lr", "largest_axes")


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """An entry's options under optax's names."""
    given = {k: v for k, v in options.items() if k not in ("eps", "lr")}
    eps, eps2 = options["eps"]
    lr = None if options["lr"] == 1 else options["lr"]
    return {**given, "learning_rate": lr, "eps": eps, "eps2": eps2}


@profiled("adafactor", _renamed, beyond=BEYOND)
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
    *,
    eps2: Any = 1e-3,
    eps_in_square: bool = True,
    relative_step: bool = False,
    decay_by_lr: bool = False,
    largest_axes: bool = True,
) -> tf.GradientTransformation:
    """As optax.adafactor, with the decay of the moments in the leaf's own precision.

    profile="torch" is torch.optim.Adafactor.

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
            None is the spacing of 1 in a leaf's dtype.
        factored: False keeps a second moment per element.
        weight_decay_mask: a tree of bools (or a prefix of one, or a function of the gradients that
            gives one): which leaves decay. None decays all.
        eps2: the least root mean square that a leaf counts with.
        eps_in_square: False takes the maximum of eps and the root instead, as torch does.
        relative_step: True takes the smaller of learning_rate and 1 / sqrt(t), as torch does.
        decay_by_lr: True multiplies the decay by the learning rate, as torch does.
        largest_axes: False factors along the last two axes, as torch does.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=1.0 if learning_rate is None else tf.known(learning_rate, 0.0),
        beta2_decay=-tf.known(decay_rate, 0.8),
        eps=(tf.known(eps, 0.0), tf.known(eps2, 0.0)),
        d=tf.known(clipping_threshold, 1.0),
        momentum=0.0 if momentum is None else tf.known(momentum, 0.0),
        weight_decay=0.0 if weight_decay_rate is None else tf.known(weight_decay_rate, 0.0),
        min_dim_size_to_factor=min_dim_size_to_factor,
    )
    factoring = {
        "factored": factored,
        "largest_axes": largest_axes,
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

        def rate(dtype: Any) -> Any:
            if not relative_step:
                return tf.scalar(lr, dtype)
            slow = jax.lax.rsqrt((moments.count + 1).astype(dtype))
            return jnp.minimum(tf.scalar(lr, dtype), slow)

        # of the dtype that a leaf has, not of the one that it is computed in
        spacings = (float(jnp.finfo(jnp.asarray(p).dtype).eps) for p in jax.tree.leaves(params))

        def leaf(
            dtype: Any, g: Any, row: Any, col: Any, v: Any, m: Any, p: Any, decays: Any
        ) -> tuple[Any, ...]:
            small, size = tf.scalar(next(spacings) if eps is None else eps, dtype), rate(dtype)
            keep = -jnp.expm1(-tf.scalar(decay_rate, dtype) * jnp.log(elapsed.astype(dtype)))
            square = g * g + small if eps_in_square else g * g
            pair = axes(g.shape, factoring)
            if pair is None:
                v = keep * v + (1 - keep) * square
                d = g * _inverse_root(v) if eps_in_square else _over(g, v, small)
            else:
                down, along = pair
                row = keep * row + (1 - keep) * _mean(square, along)
                col = keep * col + (1 - keep) * _mean(square, down)
                middle = _mean(row, down - (down > along), keepdims=True)
                middle = middle if eps_in_square else jnp.maximum(middle, small)
                share = row / jnp.where(middle > 0, middle, jnp.ones_like(middle))
                if eps_in_square:
                    d = g * jnp.expand_dims(_inverse_root(share), along)
                    d = d * jnp.expand_dims(_inverse_root(col), down)
                else:
                    d = _over(g, _outer(share, col, along, down), small)
            if clipping_threshold is not None:
                over = _rms(d) / tf.scalar(clipping_threshold, dtype)
                d = d / jnp.maximum(over, jnp.ones_like(over))
            if multiply_by_parameter_scale:
                size = size * jnp.maximum(_rms(p), jnp.asarray(eps2, dtype))
            d = size * d
            if m is not None:
                along_path = tf.scalar(momentum, dtype)
                m = d = along_path * m + (1 - along_path) * d
            if decays:
                by = tf.scalar(lr, dtype) if decay_by_lr else 1.0
                d = d + by * tf.scalar(wd, dtype) * p
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


def _outer(row: Any, col: Any, along: int, down: int) -> Any:
    """Their product over both axes."""
    row, col = jnp.expand_dims(row, along), jnp.expand_dims(col, down)
    shape = jnp.broadcast_shapes(row.shape, col.shape)
    return jnp.broadcast_to(row, shape) * jnp.broadcast_to(col, shape)


def _over(g: Any, v: Any, small: Any) -> Any:
    """g / max(sqrt(v), small), and 0 where that is 0."""
    root = jnp.maximum(jnp.sqrt(v), small)
    return jnp.where(
        root > 0, g / jnp.where(root > 0, root, jnp.ones_like(root)), jnp.zeros_like(g)
    )


def _inverse_root(x: Any) -> Any:
    """1 / sqrt(x), and 0 where x is 0."""
    return jnp.where(x > 0, jax.lax.rsqrt(jnp.where(x > 0, x, jnp.ones_like(x))), jnp.zeros_like(x))
