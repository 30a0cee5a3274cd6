"""LARS for JAX, with optax's signature. Maths, options and source: bpx/optimizers/lars.py."""

from __future__ import annotations

from typing import Any

from bpx.optimizers.lars import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf
from bpx_jax._packed import WHOLE, refuse
from bpx_jax.optimizers import _trust


@profiled("lars", tf.renamed, skip=("norm_of_sum", "lr_in_momentum"))
def lars(
    learning_rate: Any,
    weight_decay: Any = 0.0,
    weight_decay_mask: Any = True,
    trust_coefficient: Any = 0.001,
    eps: Any = 0.0,
    trust_ratio_mask: Any = True,
    momentum: Any = 0.9,
    nesterov: bool = False,
) -> tf.GradientTransformation:
    """As optax.lars: the norm under the ratio is of the gradient with the decay added.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        weight_decay: a number, or a schedule; scaled by the ratio and the learning rate.
        weight_decay_mask: a tree of bools (or a prefix of one, or a function of the gradients that
            gives one): which leaves decay.
        trust_coefficient: the ratio of the norms of step and leaf at learning rate 1.
        eps: added to the norm under the ratio.
        trust_ratio_mask: as weight_decay_mask: which leaves are scaled by the ratio.
        momentum: the decay of the velocity, which is kept for 0 too, as in optax.
        nesterov: look one step ahead along the velocity.

    Raises:
        SpecError: an option outside its limits; nesterov without momentum (optax ignores it);
            `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        momentum=tf.known(momentum, 0.5),
        weight_decay=tf.known(weight_decay, 0.0),
        trust_coefficient=tf.known(trust_coefficient, 0.0),
        eps=tf.known(eps, 0.0),
        nesterov=nesterov,
    )
    decay = tf.Decay(SPEC.name, weight_decay, weight_decay_mask)

    def init(params: Any) -> Any:
        refuse(SPEC.name, params, WHOLE)
        return (
            decay.start(),
            tf.MaskedState(tf.EmptyState()),
            tf.rate_start(learning_rate),
            tf.TraceState(tf.zeros(params)),
        )

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        refuse(SPEC.name, grads, WHOLE)
        decaying, scaling, rate, trace = state
        _trust.require_params(SPEC, params)
        wd, decays, decaying = decay.now(decaying, grads, params)
        scaled = _trust.which(trust_ratio_mask, grads)
        lr, rate = tf.rate_now(learning_rate, rate)

        def leaf(dtype: Any, g: Any, buf: Any, p: Any, decays: Any, scales: Any) -> Any:
            coefficient, small, size, along = (
                tf.scalar(x, dtype) for x in (trust_coefficient, eps, lr, momentum)
            )

            def decayed(g: Any, p: Any) -> Any:
                return g + tf.scalar(wd, dtype) * p if decays else g

            d = decayed(*_trust.anew(g, p))
            if scales:
                below = _trust.norm(decayed(g, p))
                d = d * _trust.trust(_trust.norm(p), below, coefficient, small)
            d = -size * d
            buf = along * buf + d
            return d + along * buf if nesterov else buf, buf

        def native(dtype: Any, g: Any, buf: Any, p: Any, decays: Any, scales: Any) -> Any:
            coefficient, small, size, along = (
                tf.scalar(x, dtype) for x in (trust_coefficient, eps, lr, momentum)
            )
            penalty = tf.scalar(wd, dtype) if decays else 0.0
            if scales:
                d = g + penalty * p if decays else g
                size = size * _trust.trust(_trust.norm(p), _trust.norm(d), coefficient, small)
            variant = _move.DECAYS * bool(decays) + _move.OTHER * nesterov
            return _move.Call("velocity", (along, -size, 1.0, penalty), variant)

        updates, (bufs,) = tf.map_leaves(
            SPEC.name,
            leaf,
            grads,
            (trace.trace,),
            params,
            decays,
            scaled,
            move=(params, native) if moving else None,
        )
        return updates, (decaying, scaling, rate, tf.TraceState(bufs))

    return tf.moving(init, step)
