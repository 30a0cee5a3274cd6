"""Schedule-Free SGD for JAX, with optax's signature. Maths: bpx/optimizers/schedule_free_sgd.py."""

from __future__ import annotations

from typing import Any

from bpx.optimizers.schedule_free_sgd import SPEC
from bpx_jax import _transform as tf
from bpx_jax.optimizers._schedule_free import transformation, warmed


def schedule_free_sgd(
    learning_rate: Any = 1.0,
    warmup_steps: int | None = None,
    b1: Any = 0.9,
    weight_decay: Any = None,
    weight_lr_power: Any = 2.0,
    state_dtype: Any = None,
) -> tf.GradientTransformation:
    """As optax.contrib.schedule_free_sgd; the sum of weights is float32 at least.

    Args:
        learning_rate: a number, or without warmup_steps a schedule; z moves by its value at the
            count of steps before, the average weighs by that at the count after.
        warmup_steps: over which the rate rises linearly from 0.
        b1: the share of the average x in the parameters, between 0 and 1.
        weight_decay: an L2 penalty, at the parameters.
        weight_lr_power: iterates weigh as this power of the largest rate so far.
        state_dtype: dtype of z; None takes each parameter's.

    `bpx_jax.optim.schedule_free_eval_params(state, params)` gives x.

    Raises:
        SpecError: an option outside its limits; `update` without params.
    """
    tf.check(
        SPEC,
        lr=tf.known(learning_rate, 0.0),
        momentum=tf.known(b1, 0.5),
        weight_decay=0.0 if weight_decay is None else tf.known(weight_decay, 0.0),
        warmup_steps=0 if warmup_steps is None else warmup_steps,
        weight_lr_power=tf.known(weight_lr_power, 2.0),
    )
    rate = warmed(learning_rate, warmup_steps)
    decays = weight_decay is not None

    def start(params: Any) -> Any:
        inner = (tf.EmptyState(), tf.rate_start(rate))
        return (tf.EmptyState(), inner) if decays else inner

    def direction(dtype: Any, g: Any, p: Any, moment: Any, base: Any) -> Any:
        return (g + tf.scalar(weight_decay, dtype) * p if decays else g), None

    def advance(base: Any, moments: Any, rate: Any) -> Any:
        return (base[0], (base[1][0], rate)) if decays else (base[0], rate)

    return transformation(
        SPEC,
        rate,
        b1,
        weight_lr_power,
        state_dtype,
        start,
        lambda base: None,
        lambda base: base[1][1] if decays else base[1],
        direction,
        advance,
    )
