"""soft_cross_entropy for PyTorch. Maths, shapes and source: bpx/losses/soft_cross_entropy.py."""

import torch

from bpx.losses.soft_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def widened(arrays):
    x = at_least_float32(arrays[0])
    return (x, *(None if a is None else a.to(x.dtype) for a in arrays[1:]))


def lines(x, target, weight, lse, s):
    """(q, the weighted q, logp), with 0 for the logp of a class that is masked and not wanted."""
    q = (1 - s) * target + s / x.shape[-1] if s else target
    wq = q if weight is None else weight * q
    return q, wq, (x - lse.unsqueeze(-1)).masked_fill((x == -torch.inf) & (wq == 0), 0.0)


def forward(logits, target, weight, *, reduction, label_smoothing):
    x, target, weight = widened((logits, target, weight))
    lse = torch.logsumexp(x, -1)
    _, wq, logp = lines(x, target, weight, lse, label_smoothing)
    return reduce(-(wq * logp).sum(-1), reduction).to(logits.dtype), (lse,)


def backward(dy, arrays, residuals, needs, *, reduction, label_smoothing):
    # With p = softmax(logits), taken anew since exp(logits - lse) is off by |lse| eps, and
    # g = dy (over the number of rows in a mean):
    #   dlogits = g * (sum_V(weight q) p - weight q)          through lse, through the logits
    #   dtarget = -g * (1 - s) weight logp,  dweight = -sum of g * q * logp over the rows
    x, target, weight = widened(arrays)
    (lse,) = residuals
    q, wq, logp = lines(x, target, weight, lse, label_smoothing)
    g = each(dy.to(x.dtype), lse.numel(), reduction).unsqueeze(-1)
    dlogits = dtarget = dweight = None
    if needs[0]:
        p = torch.softmax(x, -1)
        dlogits = g * (wq.sum(-1, keepdim=True) * p - wq)
    if needs[1]:
        dtarget = -g * (1 - label_smoothing) * (logp if weight is None else weight * logp)
    if needs[2]:
        dweight = (-g * q * logp).reshape(-1, x.shape[-1]).sum(0)
    return dlogits, dtarget, dweight


def tangent(tangents, arrays, residuals, *, reduction, label_smoothing):
    # row by row: sum_V(weight q) (p . tlogits) - (weight q) . tlogits
    #             - (1 - s) (weight logp) . ttarget - (q logp) . tweight
    x, target, weight = widened(arrays)
    (lse,) = residuals
    tx, ttarget, tweight = (None if t is None else t.to(x.dtype) for t in tangents)
    q, wq, logp = lines(x, target, weight, lse, label_smoothing)
    t = torch.zeros_like(x)
    if tx is not None:
        mean = (torch.softmax(x, -1) * tx).sum(-1, keepdim=True)
        t = t + wq * (mean - tx)
    if ttarget is not None:
        t = t - (1 - label_smoothing) * (logp if weight is None else weight * logp) * ttarget
    if tweight is not None:
        t = t - q * logp * tweight
    return reduce(t.sum(-1), reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.soft_cross_entropy"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def soft_cross_entropy(logits, target, weight=None, *, reduction="mean", label_smoothing=0.0):
    """Cross-entropy of logits (*N V) with the probabilities target (*N V); weight (V).
    Maths: bpx/losses/soft_cross_entropy.py."""
    return RULE(logits, target, weight, reduction=reduction, label_smoothing=label_smoothing)
