"""cross_entropy for JAX. Maths, shapes and source: bpx/losses/cross_entropy.py."""

import jax
import jax.numpy as jnp

from bpx.losses.cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule


def labels(logits, target, weight, ignore_index):
    """(ignored, label, wy): where the row is ignored, an index that is always in range, and the
    weight of the row's label: 0 where ignored, NaN where out of range."""
    held, v = jnp.iinfo(target.dtype), logits.shape[-1]
    if ignore_index is None or not held.min <= ignore_index <= held.max:
        ignored = jnp.zeros(target.shape, bool)
    else:
        ignored = target == ignore_index
    outside = (target < 0) | (target >= v if v <= held.max else False)
    label = jnp.where(outside | ignored, jnp.zeros_like(target), target)
    wy = jnp.ones(target.shape, logits.dtype) if weight is None else weight[label]
    return ignored, label, jnp.where(ignored, 0.0, jnp.where(outside, jnp.nan, wy))


def widened(logits, weight):
    x = at_least_float32(logits)
    return x, None if weight is None else weight.astype(x.dtype)


def classwise(weight, x):
    """The class weights beside x (*N V), 1 without."""
    if weight is None:
        return jnp.ones_like(x)
    return jnp.broadcast_to(weight, x.shape)


def at(x, label):
    return jnp.take_along_axis(x, label[..., None], -1)[..., 0]


def over_labels(total, wy):
    """total / sum(wy), and 0 where the weights sum to 0."""
    count = wy.sum()
    return jnp.where(count == 0, 0.0, total / jnp.where(count == 0, 1.0, count))


def row_losses(x, lse, weight, rows, s):
    ignored, label, wy = rows
    loss = (1 - s) * wy * (lse - at(x, label))
    if s:
        surprise = classwise(weight, x) * (lse[..., None] - x)
        loss = loss + s / x.shape[-1] * surprise.sum(-1)
        loss = jnp.where(jnp.isnan(wy), wy, loss)  # s = 1 included
    return jnp.where(ignored, 0.0, loss)


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    x, weight = widened(logits, weight)
    rows = labels(x, target, weight, ignore_index)
    lse = jax.nn.logsumexp(x, -1)
    loss = row_losses(x, lse, weight, rows, label_smoothing)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = over_labels(loss, rows[2])
    return loss.astype(logits.dtype), (lse,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    # p = softmax(logits), taken anew: exp(logits - lse) is off by |lse| eps. With
    # s = label_smoothing, g = dy (over sum(wy) in a mean) and
    # pull = (1 - s) wy + s/V sum(weight), the weight of all that a row's lse enters:
    #   dlogits = g * (pull * p                          through lse
    #                  - (1 - s) wy onehot(target)       through the label's logit
    #                  - s/V weight)                     through the smoothed logits
    #   dweight[c] = sum of g * (1 - s) (lse - logits[target]) over the rows with label c
    #                - sum of g * y over them, in a mean             through sum(wy)
    #                + sum of g * s/V (lse - logits[c]) over all rows that count
    logits, target, weight = arrays
    (lse,) = residuals
    x, weight = widened(logits, weight)
    ignored, label, wy = rows = labels(x, target, weight, ignore_index)
    v, s = x.shape[-1], label_smoothing
    g = dy.astype(x.dtype)
    if reduction == "mean":
        g = over_labels(g, wy)
    g = jnp.where(ignored, 0.0, jnp.broadcast_to(g, wy.shape))
    # a comparison that XLA fuses, where a scatter would be a pass of its own
    onehot = label[..., None] == jax.lax.broadcasted_iota(label.dtype, x.shape, x.ndim - 1)

    hit = (1 - s) * wy
    pull = hit + s / v * classwise(weight, x).sum(-1) if s else hit
    p = jax.nn.softmax(x, -1)
    dlogits = (g * pull)[..., None] * p - jnp.where(onehot, (g * hit)[..., None], 0.0)
    if s:
        dlogits = dlogits - (s / v * g)[..., None] * classwise(weight, x)
        dlogits = jnp.where(jnp.isnan(wy)[..., None], jnp.nan, dlogits)  # s = 1 included
    dlogits = jnp.where(ignored[..., None], 0.0, dlogits)

    dweight = None
    if needs[2]:
        dwy = (1 - s) * (lse - at(x, label))
        if reduction == "mean":
            dwy = dwy - over_labels(row_losses(x, lse, weight, rows, s).sum(), wy)
        dwy = jnp.where(ignored, 0.0, g * dwy + 0 * wy)  # 0 * wy: NaN for a label out of range
        spread = jnp.where(onehot, dwy[..., None], 0.0)
        if s:
            even = (s / v * g)[..., None] * (lse[..., None] - x)
            spread = spread + jnp.where(ignored[..., None], 0.0, even)
        dweight = spread.sum(tuple(range(x.ndim - 1)))
    return dlogits, None, dweight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.cross_entropy"),
        Kernel("plain", forward, backward),
    ),
)


def cross_entropy(
    logits, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Cross-entropy of logits (*N V) with the labels target (*N, integers); weight (V).
    Maths: bpx/losses/cross_entropy.py."""
    return RULE(
        logits,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
