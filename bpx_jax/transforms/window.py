"""When an optimizer takes a step, for JAX. Options and source: bpx/transforms/window.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.transforms.window import ACCUMULATION, SKIP
from bpx_jax._around import check, choose, finite, zero_updates
from bpx_jax._transform import GradientTransformation, advance, zero


class MultiStepsState(NamedTuple):
    mini_step: Any
    gradient_step: Any
    inner_opt_state: Any
    acc_grads: Any
    skip_state: Any = ()


class ApplyIfFiniteState(NamedTuple):
    notfinite_count: Any
    last_finite: Any
    total_notfinite: Any
    inner_state: Any


def gradient_accumulation(
    inner: Any,
    every: Any = 1,
    *,
    mean: bool = True,
    skip: Any = None,
    accumulator_dtype: Any = jnp.float32,
) -> GradientTransformation:
    """Any optimizer with one update for `every` gradients, and zeros in between.

    Args:
        inner: the optimizer.
        every: the gradients of a window, or a function of the updates so far to it.
        mean: the mean of a window's gradients, or their sum.
        skip: a function (grads, updates so far, params) -> (whether to leave these gradients out of
            the window, a state to keep); None leaves out none.
        accumulator_dtype: of the mean or sum; float64 gradients need float64.

    Raises:
        SpecError: every is no integer of at least 1.
    """
    check(ACCUMULATION, every=every, mean=mean)
    judge = skip if skip is not None else lambda grads, step, params: (jnp.asarray(False), ())

    def init(params: Any) -> Any:
        sums = jax.tree.map(lambda p: jnp.zeros_like(p, dtype=accumulator_dtype), params)
        zeros = jax.tree.map(jnp.zeros_like, params)
        _, kept = judge(zeros, zero(), params)
        return MultiStepsState(zero(), zero(), inner.init(params), sums, kept)

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        size = every(state.gradient_step) if callable(every) else every
        leave_out, kept = judge(grads, state.gradient_step, params)
        n = state.mini_step + 1

        def add(total: Any, g: Any) -> Any:
            g = g.astype(total.dtype)
            return total + (g - total) / n.astype(total.dtype) if mean else total + g

        sums = jax.tree.map(add, state.acc_grads, grads)
        ready = jax.tree.map(lambda s, g: s.astype(g.dtype), sums, grads)
        nothing = zero_updates(inner, ready, state.inner_opt_state, params, extra)
        due = (n >= size) & ~leave_out
        updates, held = jax.lax.cond(
            due,
            lambda: inner.update(ready, state.inner_opt_state, params, **extra),
            lambda: (nothing, state.inner_opt_state),
        )
        sums = jax.tree.map(lambda s: jnp.where(due, jnp.zeros_like(s), s), sums)
        new = MultiStepsState(
            jnp.where(due, zero(), n),
            jnp.where(due, advance(state.gradient_step), state.gradient_step),
            held,
            sums,
            kept,
        )
        return updates, choose(leave_out, state._replace(skip_state=kept), new)

    return GradientTransformation(init, update)


def skip_not_finite(grads: Any, gradient_step: Any, params: Any) -> Any:
    """As optax.skip_not_finite, for MultiSteps: leave out gradients that are not all finite."""
    counts = [jnp.sum(~jnp.isfinite(g)) for g in jax.tree.leaves(grads)]
    number = jnp.sum(jnp.stack(counts))
    return number > 0, {"should_skip": number > 0, "num_not_finite": number}


def skip_nonfinite(inner: Any, max_consecutive: Any = 5) -> GradientTransformation:
    """Any optimizer without the updates for gradients that are not all finite: zeros instead.

    Raises:
        SpecError: max_consecutive is no integer of at least 0.
    """
    check(SKIP, max_consecutive=max_consecutive)

    def init(params: Any) -> Any:
        return ApplyIfFiniteState(zero(), jnp.asarray(True), zero(), inner.init(params))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        good = finite(grads)
        row = jnp.where(good, zero(), advance(state.notfinite_count))
        nothing = zero_updates(inner, grads, state.inner_state, params, extra)
        updates, held = jax.lax.cond(
            good | (row > max_consecutive),
            lambda: inner.update(grads, state.inner_state, params, **extra),
            lambda: (nothing, state.inner_state),
        )
        total = jnp.where(good, state.total_notfinite, advance(state.total_notfinite))
        return updates, ApplyIfFiniteState(row, good, total, held)

    return GradientTransformation(init, update)
