"""Float32 accumulators for 16-bit parameters, around any transformation."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bpx_jax import _transform as tf


def accumulate_in_float32(inner: Any) -> tf.GradientTransformation:
    """`inner` with the state of 16-bit parameters in float32, and its arithmetic with it.

    The optimizers here, as optax's, keep state in the dtype of the parameters: in bfloat16 a
    running mean stands still once its increments fall below half a unit in the last place. This
    hands parameters and gradients of fewer digits over in float32. Everything else passes
    unchanged, and the state has the same tree.

    Args:
        inner: a transformation of bpx_jax or optax.

    Returns:
        A transformation. Its updates have the dtypes of the gradients, rounded once.

    >>> from bpx_jax import optim
    >>> tx = accumulate_in_float32(optim.adam(0.1))
    >>> tx.init(jnp.ones(3, jnp.bfloat16))[0].nu.dtype
    dtype('float32')
    """

    def init(params: Any) -> Any:
        return inner.init(_wide(params))

    def update(grads: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates, state = inner.update(_wide(grads), state, _wide(params), **extra)
        return jax.tree.map(lambda u, g: u.astype(jnp.asarray(g).dtype), updates, grads), state

    return tf.GradientTransformation(init, update)


def _wide(tree: Any) -> Any:
    def leaf(x: Any) -> Any:
        x = jnp.asarray(x)
        half = jnp.issubdtype(x.dtype, jnp.floating) and x.dtype.itemsize < 4
        return x.astype(jnp.float32) if half else x

    return jax.tree.map(leaf, tree)
