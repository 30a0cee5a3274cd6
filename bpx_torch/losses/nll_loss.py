"""nll_loss for PyTorch. Maths, shapes and source: bpx/losses/nll_loss.py."""

import torch

from bpx.losses.nll_loss import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._labels import at, labels, over_labels


def lines(x, target, weight, ignore_index):
    """(x and weight widened, the rows, xy, loss)."""
    x = at_least_float32(x)
    weight = None if weight is None else weight.to(x.dtype)
    rows = ignored, _, label, wy = labels(target, x.shape[-1], weight, ignore_index, x.dtype)
    xy = at(x, label).masked_fill(ignored, 0.0)
    return x, weight, rows, xy, -wy * xy


def reduced(loss, wy, reduction):
    if reduction == "none":
        return loss
    return over_labels(loss.sum(), wy) if reduction == "mean" else loss.sum()


def forward(x, target, weight, *, ignore_index, reduction):
    *_, (_, _, _, wy), _, loss = lines(x, target, weight, ignore_index)
    return reduced(loss, wy, reduction).to(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    # With g = dy (over sum(wy) in a mean):
    #   dx = -g wy onehot(target)
    #   dweight[c] = -sum of g * x[target] over the rows with label c
    #                - sum of g * y over them, in a mean             through sum(wy)
    x, weight, (ignored, outside, label, wy), xy, loss = lines(*arrays, ignore_index)
    g = dy.to(x.dtype)
    if reduction == "mean":
        g = over_labels(g, wy)
    dx = dweight = None
    if needs[0]:
        hit = (-g * wy).unsqueeze(-1)
        dx = torch.zeros_like(x).scatter(-1, label.unsqueeze(-1), hit)
        dx = dx.masked_fill(outside.unsqueeze(-1), torch.nan)
    if needs[2]:
        y = over_labels(loss.sum(), wy) if reduction == "mean" else 0.0
        # 0 * wy: NaN for a label out of range
        dwy = (-g * (xy + y) + 0 * wy).masked_fill(ignored, 0.0)
        dweight = torch.zeros_like(weight).index_add(0, label.flatten(), dwy.flatten())
    return dx, None, dweight


def tangent(tangents, arrays, residuals, *, ignore_index, reduction):
    # row by row: -wy tx[target] - tweight[target] x[target], and -y tweight[target] in a mean
    x, _, (ignored, _, label, wy), xy, loss = lines(*arrays, ignore_index)
    tx, _, tweight = tangents
    t = torch.zeros_like(loss)
    if tx is not None:
        t = t - wy * at(tx.to(x.dtype), label)
    if tweight is not None:
        y = over_labels(loss.sum(), wy) if reduction == "mean" else 0.0
        t = t - tweight.to(x.dtype)[label] * (xy + y)
    return reduced(t.masked_fill(ignored, 0.0), wy, reduction).to(arrays[0].dtype)


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="float32")


def nll_loss(x, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """Minus the log-probability in x (*N V) of the labels target (*N, integers); weight (V).
    Maths: bpx/losses/nll_loss.py."""
    return RULE(x, target, weight, ignore_index=ignore_index, reduction=reduction)
