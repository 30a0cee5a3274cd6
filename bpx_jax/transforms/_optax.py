"""optax's transformations, by the rules beside them: optax's names, arguments and defaults."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.spec import require
from bpx.transforms.metric import PLATEAU
from bpx_jax._around import check, choose, leafwise
from bpx_jax._transform import GradientTransformation, zero
from bpx_jax.transforms.average import weight_ema
from bpx_jax.transforms.clip import clip_by_norm, clip_by_value
from bpx_jax.transforms.metric import PlateauState, reduce_lr_on_plateau
from bpx_jax.transforms.penalty import l2_penalty
from bpx_jax.transforms.window import gradient_accumulation, skip_nonfinite


class ReduceLROnPlateauState(NamedTuple):
    scale: Any
    best_value: Any
    plateau_count: Any
    cooldown_count: Any
    count: Any
    avg_value: Any


def clip(max_delta: Any) -> GradientTransformation:
    """As optax.clip: each element to [-max_delta, max_delta]."""
    return clip_by_value(max_delta)


def clip_by_block_rms(threshold: Any) -> GradientTransformation:
    """As optax.clip_by_block_rms: each array to the root mean square `threshold`."""
    return clip_by_norm(threshold, mean=True)


def add_decayed_weights(weight_decay: Any = 0.0, mask: Any = None) -> GradientTransformation:
    """As optax.add_decayed_weights: weight_decay (a number or schedule) times p is added."""
    return l2_penalty(weight_decay, mask)


def apply_if_finite(inner: Any, max_consecutive_errors: int) -> GradientTransformation:
    """As optax.apply_if_finite."""
    return skip_nonfinite(inner, max_consecutive_errors)


class MultiSteps:
    """As optax.MultiSteps: one update for a window of gradients.

    Differs: the inner optimizer runs in the last step of a window alone.

    Args:
        opt: the optimizer.
        every_k_schedule: the gradients of a window, or a function of the updates so far to it.
        use_grad_mean: the mean of the gradients, or their sum.
        should_skip_update_fn: which gradients to leave out, such as skip_not_finite.
        accumulator_dtype: of the mean or sum.

    Raises:
        SpecError: every_k_schedule is no integer of at least 1.
    """

    def __init__(
        self,
        opt: Any,
        every_k_schedule: Any,
        use_grad_mean: bool = True,
        should_skip_update_fn: Any = None,
        accumulator_dtype: Any = jnp.float32,
    ) -> None:
        self.inner_opt = opt
        self._transformation = gradient_accumulation(
            opt,
            every_k_schedule,
            mean=use_grad_mean,
            skip=should_skip_update_fn,
            accumulator_dtype=accumulator_dtype,
        )
        self.init, self.update = self._transformation

    def has_updated(self, state: Any) -> Any:
        """Whether the last update was that of a full window."""
        return (state.mini_step == 0) & (state.gradient_step > 0)

    def gradient_transformation(self) -> GradientTransformation:
        """The same as init and update."""
        return self._transformation


def ema(decay: Any, debias: bool = True, accumulator_dtype: Any = None) -> GradientTransformation:
    """As optax.ema: an average of updates from 0 on, corrected for that start or not.

    Differs: the average of 16-bit updates is kept in float32 unless accumulator_dtype is given.
    """
    return weight_ema(decay, debias=debias, accumulator_dtype=accumulator_dtype, start="zeros")


def reduce_on_plateau(
    factor: float = 0.1,
    patience: Any = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: Any = 0,
    accumulation_size: Any = 1,
    min_scale: Any = 0.0,
) -> GradientTransformation:
    """As optax.contrib.reduce_on_plateau: updates are times a scale; update takes `value=metric`.

    accumulation_size values are averaged to one metric. Inside optax.chain, which hands `value` on
    to transformations of its own class alone, put it as optax.GradientTransformationExtraArgs(*tx).

    Raises:
        SpecError: an option outside its limits. patience is at least 1 here.
    """
    readable = isinstance(patience, int)
    require(
        not readable or patience >= 1,
        f"{PLATEAU.name}: patience is {patience!r}, expected an integer at least 1 (optax's count)",
    )
    less = patience - 1
    check(PLATEAU, factor=factor, patience=less, rtol=rtol, atol=atol, cooldown=cooldown)
    require(rtol > 0 or atol > 0, f"{PLATEAU.name}: rtol and atol are 0, expected one above 0")
    monitor = reduce_lr_on_plateau("min", factor, less, rtol, atol, cooldown, min_scale, 0.0)

    def init(params: Any) -> Any:
        dtypes = {jnp.asarray(p).dtype for p in jax.tree.leaves(params)}
        low = min(dtypes, key=lambda d: (d.itemsize, d.name), default=jnp.dtype("float32"))
        high = max(dtypes, key=lambda d: (d.itemsize, d.name), default=jnp.dtype("float32"))
        return ReduceLROnPlateauState(
            scale=jnp.ones((), low),
            best_value=jnp.full((), math.inf, high),
            plateau_count=zero(),
            cooldown_count=zero(),
            count=zero(),
            avg_value=jnp.zeros((), high),
        )

    def update(grads: Any, state: Any, params: Any = None, *, value: Any, **extra: Any) -> Any:
        n = state.count + 1
        value = jnp.asarray(value).astype(state.avg_value.dtype)
        mean = state.avg_value + (value - state.avg_value) / n.astype(value.dtype)
        before = PlateauState(state.best_value, state.plateau_count, state.cooldown_count)
        scale, after = monitor.update(mean, state.scale, before)
        full = ReduceLROnPlateauState(
            scale=scale.astype(state.scale.dtype),
            best_value=after.best,
            plateau_count=after.bad,
            cooldown_count=after.cooldown,
            count=zero(),
            avg_value=jnp.zeros_like(mean),
        )
        state = choose(n >= accumulation_size, full, state._replace(count=n, avg_value=mean))
        rule = lambda g: g * state.scale.astype(g.dtype)  # noqa: E731
        return leafwise(PLATEAU, rule, grads), state

    return GradientTransformation(init, update)
