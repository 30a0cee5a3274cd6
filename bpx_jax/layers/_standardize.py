"""xhat = (x - mean) * rstd over given axes: what the rules of group, instance and batch
normalisation share."""

import math

import jax.numpy as jnp


def statistics(x, axes):
    """(mean, biased variance) over the axes, kept as axes of size 1; the variance in a second
    pass. 0 over nothing."""
    n = max(math.prod(x.shape[i] for i in axes), 1)
    mean = x.sum(axes, keepdims=True) / n
    return mean, jnp.square(x - mean).sum(axes, keepdims=True) / n


def through(g, xhat, rstd, axes):
    # dx = rstd * (g - mean(g) - xhat * mean(g * xhat)) for g = dxhat:
    # mean(g) is the path through mean, xhat * mean(g * xhat) the path through rstd.
    n = max(math.prod(xhat.shape[i] for i in axes), 1)
    about = g.sum(axes, keepdims=True) / n
    along = (g * xhat).sum(axes, keepdims=True) / n
    return rstd * (g - about - xhat * along)


def scaled(xhat, weight, bias):
    """xhat (B C *S) times weight (C) plus bias (C), each where there is one."""
    y = xhat if weight is None else xhat * channelwise(weight, xhat)
    return y if bias is None else y + channelwise(bias, xhat)


def channelwise(v, x):
    """A vector over C beside x (B C *S), in the dtype of x."""
    return v.astype(x.dtype).reshape((1, -1) + (1,) * (x.ndim - 2))
