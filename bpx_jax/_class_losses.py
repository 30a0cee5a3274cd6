"""What cross-entropy's plain rule and its kernels share: all but the passes over the logits."""

import jax.numpy as jnp

from bpx_jax import _labels
from bpx_jax._dtype import at_least_float32


def labels(logits, target, weight, ignore_index):
    """(ignored, label, wy): where the row is ignored, an index that is always in range, and the
    weight of the row's label: 0 where ignored, NaN where out of range."""
    ignored, _, label, wy = _labels.labels(
        target, logits.shape[-1], weight, ignore_index, logits.dtype
    )
    return ignored, label, wy


def widened(logits, weight):
    x = at_least_float32(logits)
    return x, None if weight is None else weight.astype(x.dtype)


def classwise(weight, x):
    """The class weights beside x (*N V), 1 without."""
    if weight is None:
        return jnp.ones_like(x)
    return jnp.broadcast_to(weight, x.shape)


def row_losses(x, lse, weight, rows, s):
    ignored, label, wy = rows
    loss = (1 - s) * wy * (lse - _labels.at(x, label))
    if s:
        surprise = classwise(weight, x) * (lse[..., None] - x)
        loss = loss + s / x.shape[-1] * surprise.sum(-1)
        loss = jnp.where(jnp.isnan(wy), wy, loss)  # s = 1 included
    return jnp.where(ignored, 0.0, loss)


def loss_of(logits, target, weight, lse, ignore_index, reduction, s):
    """The loss from the lse of each row."""
    x, weight = widened(logits, weight)
    rows = labels(x, target, weight, ignore_index)
    loss = row_losses(x, lse, weight, rows, s)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = _labels.over_labels(loss, rows[2])
    return loss.astype(logits.dtype)


def pulls(dy, x, weight, rows, reduction, s):
    """(g, pull, hit) of each row, as backward has them."""
    ignored, _, wy = rows
    g = dy.astype(x.dtype)
    if reduction == "mean":
        g = _labels.over_labels(g, wy)
    g = jnp.where(ignored, 0.0, jnp.broadcast_to(g, wy.shape))
    hit = (1 - s) * wy
    return g, hit + s / x.shape[-1] * classwise(weight, x).sum(-1) if s else hit, hit


def weight_gradient(g, x, weight, lse, rows, reduction, s):
    # dweight[c] = sum of g * (1 - s) (lse - logits[target]) over the rows with label c
    #              - sum of g * y over them, in a mean             through sum(wy)
    #              + sum of g * s/V (lse - logits[c]) over all rows that count
    ignored, label, wy = rows
    dwy = (1 - s) * (lse - _labels.at(x, label))
    if reduction == "mean":
        dwy = dwy - _labels.over_labels(row_losses(x, lse, weight, rows, s).sum(), wy)
    dwy = jnp.where(ignored, 0.0, g * dwy + 0 * wy)  # 0 * wy: NaN for a label out of range
    spread = jnp.where(_labels.onehot(label, x), dwy[..., None], 0.0)
    if s:
        even = (s / x.shape[-1] * g)[..., None] * (lse[..., None] - x)
        spread = spread + jnp.where(ignored[..., None], 0.0, even)
    return spread.sum(tuple(range(x.ndim - 1)))
