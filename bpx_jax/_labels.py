"""Rows picked by class labels, for the JAX rules of losses with labels."""

import jax
import jax.numpy as jnp


def labels(target, classes, weight, ignore_index, dtype):
    """(ignored, outside, label, wy): where the row is ignored, where its label is out of range, an
    index that is always in range, and the weight of the row's label: 0 where ignored, NaN where out
    of range. `weight` holds those of all classes, or, in another shape, those of the rows' labels.
    """
    held = jnp.iinfo(target.dtype)  # what the dtype cannot hold, no label equals
    if ignore_index is None or not held.min <= ignore_index <= held.max:
        ignored = jnp.zeros(target.shape, bool)
    else:
        ignored = target == ignore_index
    outside = (target < 0) | (target >= classes if classes <= held.max else False)
    outside = outside & ~ignored
    label = jnp.where(outside | ignored, jnp.zeros_like(target), target)
    if weight is None:
        wy = jnp.ones(target.shape, dtype)
    else:
        wy = weight[label] if weight.shape == (classes,) else weight
    return ignored, outside, label, jnp.where(ignored, 0.0, jnp.where(outside, jnp.nan, wy))


def onehot(label, x):
    """Where each row's label lies in x (*N V). XLA fuses the comparison, a scatter it would not."""
    return label[..., None] == jax.lax.broadcasted_iota(label.dtype, x.shape, x.ndim - 1)


def at(x, label):
    return jnp.take_along_axis(x, label[..., None], -1)[..., 0]


def over_labels(total, wy):
    """total / sum(wy), and 0 where the weights sum to 0."""
    count = wy.sum()
    return jnp.where(count == 0, 0.0, total / jnp.where(count == 0, 1.0, count))
