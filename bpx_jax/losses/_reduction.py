"""None, sum or mean over the elements (or rows) of a loss, and broadcasting, for the JAX rules."""

import jax.numpy as jnp


def reduce(loss, reduction):
    """The mean over nothing is 0."""
    if reduction == "none":
        return loss
    return loss.sum() / max(loss.size, 1) if reduction == "mean" else loss.sum()


def each(dy, count, reduction):
    """The cotangent of every one of `count` terms: dy, over the count in a mean."""
    return dy / max(count, 1) if reduction == "mean" else dy


def beside(a, like):
    """An argument that broadcasts to `like`, in its shape and dtype."""
    return None if a is None else jnp.broadcast_to(a.astype(like.dtype), like.shape)


def scaled(a, b):
    return a if b is None else a * b


def sum_to(g, shape):
    """g summed over the axes that an array of this shape was broadcast along."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
