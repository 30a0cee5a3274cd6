"""What the transforms around an optimizer share: the width of arithmetic, norms, and choices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bpx.spec import SpecError
from bpx.training import Transform
from bpx_jax import _transform as tf


def check(spec: Transform, **given: Any) -> None:
    """Check the options that can be read; arrays and schedules stand for their defaults."""
    if spec.check is not None:
        unread = (jax.Array, np.ndarray)
        readable = {k: v for k, v in given.items() if not isinstance(v, unread) and not callable(v)}
        spec.check({**spec.options, **readable})


def need(spec: Transform, params: Any) -> None:
    if params is None:
        raise SpecError(f"{spec.name}: params is None, expected the parameters")


def leafwise(spec: Transform, rule: Callable[..., Any], grads: Any, *others: Any) -> Any:
    """rule(g, *other leaves) on every leaf, in float32 at least; the result has g's dtype."""

    def leaf(g: Any, *rest: Any) -> Any:
        g = jnp.asarray(g)
        dtype = tf.wide(spec.name, g)
        return rule(g.astype(dtype), *(jnp.asarray(x).astype(dtype) for x in rest)).astype(g.dtype)

    return jax.tree.map(leaf, grads, *others)


def norm(x: Any, order: float, axes: Any = None) -> Any:
    """The norm over some axes, which stay with size 1. Powers do not overflow."""
    size = jnp.abs(x)
    largest = jnp.max(size, axis=axes, keepdims=True, initial=0.0)
    if order == math.inf:
        return largest
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1.0)
    powers = jnp.sum((size / unit) ** order, axis=axes, keepdims=True)
    return unit * powers ** (1 / order)


def finite(tree: Any) -> Any:
    """Whether every element of every array is finite."""
    found = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(found)) if found else jnp.asarray(True)


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """One of two trees of the same arrays, by a traced truth value."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, jnp.asarray(b, a.dtype)), yes, no)


def zero_updates(inner: Any, grads: Any, state: Any, params: Any, extra: dict[str, Any]) -> Any:
    """Zeros of the shapes and dtypes that inner.update would return."""

    def update(g: Any, s: Any, p: Any) -> Any:
        return inner.update(g, s, p, **extra)[0]

    shapes = jax.eval_shape(update, grads, state, params)
    return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
