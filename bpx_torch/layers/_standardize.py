"""xhat = (x - mean) * rstd over given axes: what the rules of group, instance and batch
normalisation share."""

import math

import torch


def statistics(x, axes):
    """(mean, biased variance) over the axes, kept as axes of size 1; the variance in a second
    pass. 0 over nothing."""
    n = max(math.prod(x.shape[i] for i in axes), 1)
    mean = x.sum(axes, keepdim=True) / n
    return mean, (x - mean).square().sum(axes, keepdim=True) / n


def through(v, xhat, rstd, axes):
    # The derivative of xhat by x is rstd * (1 - 1/n - xhat xhat^T / n), which is its own transpose:
    # this is dx for v = dxhat, and dxhat for v = dx.
    #   mean(v) is the path through mean, xhat * mean(v * xhat) the path through rstd.
    n = max(math.prod(xhat.shape[i] for i in axes), 1)
    about = v.sum(axes, keepdim=True) / n
    along = (v * xhat).sum(axes, keepdim=True) / n
    return rstd * (v - about - xhat * along)


def scaled(xhat, weight, bias):
    """xhat (B C *S) times weight (C) plus bias (C), each where there is one."""
    y = xhat if weight is None else xhat * channelwise(weight, xhat)
    return y if bias is None else y + channelwise(bias, xhat)


def channelwise(v, x):
    """A vector over C beside x (B C *S), in the dtype of x."""
    return v.to(x.dtype).reshape((1, -1) + (1,) * (x.ndim - 2))


def scaled_tangent(txhat, xhat, weight, tweight, tbias):
    # dy = dxhat * weight + xhat * dweight + dbias
    dy = torch.zeros_like(xhat) if txhat is None else scaled(txhat, weight, None)
    if tweight is not None:
        dy = dy + xhat * channelwise(tweight, xhat)
    return dy if tbias is None else dy + channelwise(tbias, xhat)
