"""cross_entropy for PyTorch. Maths, shapes and source: bpx/losses/cross_entropy.py."""

import torch

from bpx.losses.cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._labels import at, labels, over_labels
from bpx_torch._rule import Rule


def counted(x, target, weight, ignore_index):
    """(ignored, label, wy) of the rows, of which _labels.labels says more."""
    ignored, _, label, wy = labels(target, x.shape[-1], weight, ignore_index, x.dtype)
    return ignored, label, wy


def widened(logits, weight):
    x = at_least_float32(logits)
    return x, None if weight is None else weight.to(x.dtype)


def row_losses(x, lse, weight, rows, s):
    ignored, label, wy = rows
    loss = (1 - s) * wy * (lse - at(x, label))
    if s:
        surprise = lse.unsqueeze(-1) - x
        surprise = surprise if weight is None else surprise * weight
        loss = loss + s / x.shape[-1] * surprise.sum(-1)
        loss = torch.where(wy.isnan(), wy, loss)  # s = 1 included
    return loss.masked_fill(ignored, 0.0)


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    x, weight = widened(logits, weight)
    rows = counted(x, target, weight, ignore_index)
    lse = torch.logsumexp(x, -1)
    lse = torch.where(lse == torch.inf, torch.nan, lse)  # no distribution
    loss = row_losses(x, lse, weight, rows, label_smoothing)
    if reduction != "none":
        loss = loss.sum()
    if reduction == "mean":
        loss = over_labels(loss, rows[2])
    return loss.to(logits.dtype), (lse,)


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
    ignored, label, wy = rows = counted(x, target, weight, ignore_index)
    v, s = x.shape[-1], label_smoothing
    g = dy.to(x.dtype)
    if reduction == "mean":
        g = over_labels(g, wy)
    g = g.expand(wy.shape).masked_fill(ignored, 0.0)

    dlogits = dweight = None
    if needs[0]:
        hit = (1 - s) * wy
        pull = hit
        if s:
            pull = hit + s / v * (v if weight is None else weight.sum())
        p = torch.softmax(x, -1)
        dlogits = (g * pull).unsqueeze(-1) * p
        dlogits = dlogits.scatter_add(-1, label.unsqueeze(-1), (-g * hit).unsqueeze(-1))
        if s:
            even = torch.ones_like(x) if weight is None else weight
            dlogits = dlogits - (s / v * g).unsqueeze(-1) * even
            dlogits = torch.where(wy.isnan().unsqueeze(-1), torch.nan, dlogits)  # s = 1 included
        dlogits = dlogits.masked_fill(ignored.unsqueeze(-1), 0.0)
    if needs[2]:
        dwy = (1 - s) * (lse - at(x, label))
        if reduction == "mean":
            dwy = dwy - over_labels(row_losses(x, lse, weight, rows, s).sum(), wy)
        dwy = (g * dwy + 0 * wy).masked_fill(ignored, 0.0)  # 0 * wy: NaN for a label out of range
        dweight = torch.zeros_like(weight).index_add(0, label.flatten(), dwy.flatten())
        if s:
            spread = (s / v * g).unsqueeze(-1) * (lse.unsqueeze(-1) - x)
            spread = spread.masked_fill(ignored.unsqueeze(-1), 0.0)
            dweight = dweight + spread.reshape(-1, v).sum(0)
    return dlogits, None, dweight


def tangent(tangents, arrays, residuals, *, ignore_index, reduction, label_smoothing):
    # row by row: pull * (p . tlogits) - (1 - s) wy tlogits[target] - s/V weight . tlogits
    #             + (1 - s) tweight[target] (lse - logits[target]) + s/V tweight . (lse - logits)
    logits, target, weight = arrays
    (lse,) = residuals
    tx, _, tweight = tangents
    x, weight = widened(logits, weight)
    ignored, label, wy = rows = counted(x, target, weight, ignore_index)
    v, s = x.shape[-1], label_smoothing
    t, twy = torch.zeros_like(wy), torch.zeros_like(wy)
    if tx is not None:
        tx = tx.to(x.dtype)
        mean = (torch.softmax(x, -1) * tx).sum(-1)
        t = t + (1 - s) * wy * (mean - at(tx, label))
        if s:
            even = torch.ones_like(x) if weight is None else weight
            t = t + s / v * (even * (mean.unsqueeze(-1) - tx)).sum(-1)
    if tweight is not None:
        tweight = tweight.to(x.dtype)
        twy = tweight[label].masked_fill(ignored, 0.0)
        t = t + (1 - s) * twy * (lse - at(x, label))
        if s:
            t = t + s / v * (tweight * (lse.unsqueeze(-1) - x)).sum(-1)
    t = t.masked_fill(ignored, 0.0)
    if reduction != "none":
        t = t.sum()
    if reduction == "mean":
        y = over_labels(row_losses(x, lse, weight, rows, s).sum(), wy)
        t = over_labels(t - y * twy.sum(), wy)
    return t.to(logits.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.cross_entropy"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.cross_entropy"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
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
