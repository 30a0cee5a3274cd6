"""SGD for JAX, with optax's signature. Maths, options and source: bpx/optimizers/sgd.py."""

from __future__ import annotations

from typing import Any

from bpx.optimizers.sgd import SPEC
from bpx.profiles import profiled
from bpx_jax import _move
from bpx_jax import _transform as tf


@profiled(
    "sgd",
    tf.renamed,
    skip=("weight_decay", "decoupled_weight_decay"),
    beyond=("lr_in_momentum",),
)
def sgd(
    learning_rate: Any,
    momentum: Any = None,
    nesterov: bool = False,
    accumulator_dtype: Any = None,
    *,
    lr_in_momentum: bool = False,
) -> tf.GradientTransformation:
    """As optax.sgd: stochastic gradient descent, with momentum where it is given.

    Args:
        learning_rate: a number, or a schedule (step count from 0 -> number).
        momentum: the decay of the velocity; None keeps no velocity.
        nesterov: look one step ahead along the velocity.
        accumulator_dtype: dtype of the velocity; None takes each parameter's.
        lr_in_momentum: the velocity holds steps, -learning_rate * g in the place of g, as in keras.

    Raises:
        SpecError: an option outside its limits; nesterov without momentum (optax ignores it).
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        momentum=0.0 if momentum is None else tf.known(momentum, 0.5),
        nesterov=nesterov,
    )

    def init(params: Any) -> Any:
        rate = tf.rate_start(learning_rate)
        if momentum is None:
            return tf.EmptyState(), rate
        return tf.TraceState(tf.zeros(params, accumulator_dtype)), rate

    def step(grads: Any, state: Any, params: Any, *, moving: bool) -> tuple[Any, Any]:
        trace, rate = state
        lr, rate = tf.rate_now(learning_rate, rate)

        def leaf(dtype: Any, g: Any, buf: Any) -> tuple[Any, Any]:
            size = tf.scalar(lr, dtype)
            if momentum is None:
                return -size * g, None
            decay = tf.scalar(momentum, dtype)
            inside, outside = (-size, 1.0) if lr_in_momentum else (1.0, -size)
            buf = decay * buf + inside * g
            return outside * (inside * g + decay * buf if nesterov else buf), buf

        def native(dtype: Any, g: Any, buf: Any) -> Any:
            if momentum is None:
                return None  # XLA adds the two arrays as fast
            size, decay = tf.scalar(lr, dtype), tf.scalar(momentum, dtype)
            inside, outside = (-size, 1.0) if lr_in_momentum else (1.0, -size)
            return _move.Call("velocity", (decay, inside, outside), _move.OTHER * nesterov)

        bufs = None if momentum is None else trace.trace
        move = (params, native) if moving else None
        updates, (bufs,) = tf.map_leaves(SPEC.name, leaf, grads, (bufs,), move=move)
        return updates, (trace if bufs is None else tf.TraceState(bufs), rate)

    return tf.moving(init, step)
