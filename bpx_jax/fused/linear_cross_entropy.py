"""linear_cross_entropy for JAX. Maths, shapes and source: bpx/fused/linear_cross_entropy.py.

Compiled also where the caller does not: an eager scan is compiled again at every call.
"""

import functools

import jax
import jax.numpy as jnp

from bpx.fused.linear_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_jax._labels import over_labels
from bpx_jax._rule import Rule
from bpx_jax._vocabulary import (
    joined,
    kept,
    logits,
    of_label,
    prepared,
    product,
    row_losses,
    walk,
)

STATIC = tuple(SPEC.options)


@functools.partial(jax.jit, static_argnames=STATIC)
def forward(
    x,
    weight,
    target,
    bias,
    class_weight,
    *,
    ignore_index,
    reduction,
    label_smoothing,
    softcap,
    z_loss,
    num_items,
    chunk,
):
    v, s = weight.shape[0], label_smoothing
    x_rows, cw, rows = prepared(x, weight, target, class_weight, ignore_index)

    def of_part(vectors, onehot):
        w, b, cw_part = vectors
        return kept(logits(x_rows, w, b, softcap), onehot, cw_part, s), None

    (top, mass, zy, even), _ = walk(of_part, joined, (weight, bias, cw), rows[2], chunk)
    loss = row_losses(top + mass, zy, even, rows, cw, v, s, z_loss)
    if reduction == "none":
        loss = loss.reshape(target.shape)
    elif reduction == "sum":
        loss = loss.sum()
    else:
        loss = over_labels(loss.sum(), rows[3]) if num_items is None else loss.sum() / num_items
    return loss.astype(x.dtype), (top.reshape(target.shape), mass.reshape(target.shape))


@functools.partial(jax.jit, static_argnames=("needs", *STATIC))
def backward(
    dy,
    arrays,
    residuals,
    needs,
    *,
    ignore_index,
    reduction,
    label_smoothing,
    softcap,
    z_loss,
    num_items,
    chunk,
):
    # With lse = top + mass, p = exp(z - top - mass), s = label_smoothing, g = dy (over the count
    # in a mean) and
    # pull = (1 - s) wy + 2 z_loss wy lse + s/V sum(class_weight), the weight of a row's lse:
    #   dz = g * (pull * p                          through lse
    #             - (1 - s) wy onehot(target)       through the label's logit
    #             - s/V class_weight)               through the smoothed logits
    #   dlogits = dz * (1 - (z / softcap)^2)
    #   dx = dlogits weight,  dweight = dlogits^T x,  dbias = sum(dlogits)
    #   dclass_weight[c] = sum of g * ((1 - s) (lse - z[target]) + z_loss lse^2) over label c
    #                      - sum of g * y over it, in a mean over labels    through sum(wy)
    #                      + sum of g * s/V (lse - z[c]) over all rows that count
    x, weight, target, bias, class_weight = arrays
    v, s = weight.shape[0], label_smoothing
    x_rows, cw, rows = prepared(x, weight, target, class_weight, ignore_index)
    ignored, _, label, wy = rows
    top, mass = (r.reshape(target.size) for r in residuals)
    lse = top + mass
    g = dy.astype(wy.dtype)
    mean_over_labels = reduction == "mean" and num_items is None
    if reduction == "none":
        g = g.reshape(wy.shape)
    elif mean_over_labels:
        g = over_labels(g, wy)
    elif reduction == "mean":
        g = g / num_items
    g = jnp.where(ignored, 0.0, jnp.broadcast_to(g, wy.shape))
    hit = (1 - s) * wy
    pull = hit + 2 * z_loss * wy * lse if z_loss else hit
    if s:
        pull = pull + s / v * (v if cw is None else cw.sum())
    pull, hit, even_pull = g * pull, g * hit, s / v * g

    def of_part(vectors, onehot):
        w, b, cw_part = vectors
        z = logits(x_rows, w, b, softcap)
        d = pull[:, None] * jnp.exp(z - top[:, None] - mass[:, None]) - jnp.where(
            onehot, hit[:, None], 0.0
        )
        if s:
            even = even_pull[:, None]
            d = d - (even if cw_part is None else even * cw_part[None])
        of_rows, dspread = None, None
        if needs[4]:
            of_rows = kept(z, onehot, cw_part, s)
            dspread = (even_pull[:, None] * (lse[:, None] - z)).sum(0) if s else None
        if softcap is not None:
            d = d * (1 - jnp.square(z / softcap))
        dbias = d.sum(0) if needs[3] else None
        d = d.astype(weight.dtype)
        dweight = product(d, x_rows, (0, 0)).astype(weight.dtype)
        return (product(d, w, (1, 0)), of_rows), (dweight, dbias, dspread)

    def merge(one, other):
        return one[0] + other[0], joined(one[1], other[1]) if needs[4] else None

    found = walk(of_part, merge, (weight, bias, cw), label, chunk)
    (dx, of_rows), (dweight, dbias, dspread) = found

    dclass_weight = None
    if needs[4]:
        _, _, zy, even = of_rows
        dwy = of_label(lse, zy, s, z_loss)
        if mean_over_labels:
            loss = row_losses(lse, zy, even, rows, cw, v, s, z_loss)
            dwy = dwy - over_labels(loss.sum(), wy)
        dwy = jnp.where(ignored, 0.0, g * dwy + 0 * wy)  # 0 * wy: NaN for a label out of range
        dclass_weight = jnp.zeros_like(cw).at[label].add(dwy)
        dclass_weight = dclass_weight + dspread if s else dclass_weight
    return dx.reshape(x.shape), dweight, None, dbias, dclass_weight


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.linear_cross_entropy", early=True),
        Kernel("plain", forward, backward),
    ),
)


def linear_cross_entropy(
    x,
    weight,
    target,
    bias=None,
    class_weight=None,
    *,
    ignore_index=-100,
    reduction="mean",
    label_smoothing=0.0,
    softcap=None,
    z_loss=0.0,
    num_items=None,
    chunk=4096,
):
    """Cross-entropy of x weight^T + bias with the labels target, without the logits in memory;
    x (*N D), weight (V D), target (*N, integers), bias (V), class_weight (V).
    Maths: bpx/fused/linear_cross_entropy.py."""
    return RULE(
        x,
        weight,
        target,
        bias,
        class_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
        softcap=softcap,
        z_loss=z_loss,
        num_items=num_items,
        chunk=chunk,
    )
