"""kl_div for PyTorch. Maths, shapes and source: bpx/losses/kl_div.py."""

import torch

from bpx.losses.kl_div import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def lines(x, target, log_target):
    """(p, absent, gap), with gap 0 where p is."""
    x = at_least_float32(x)
    target = target.to(x.dtype)
    p = target.exp() if log_target else target
    absent = p == 0
    logp = target.masked_fill(absent, 0.0) if log_target else p.masked_fill(absent, 1.0).log()
    return p, absent, (logp - x).masked_fill(absent, 0.0)


def reduced(loss, reduction):
    if reduction == "batchmean":
        return loss.sum() / max(loss.shape[0], 1)
    return reduce(loss, reduction)


def forward(x, target, *, reduction, log_target):
    p, _, gap = lines(x, target, log_target)
    return reduced(p * gap, reduction).to(x.dtype), ()


def slopes(p, absent, gap, log_target):
    """dloss / dtarget: gap + 1 through p and log(p), times p where target is log(p)."""
    return p * (gap + 1) if log_target else (gap + 1).masked_fill(absent, 0.0)


def backward(dy, arrays, residuals, needs, *, reduction, log_target):
    # With g = dy (over the number of elements in a mean, of rows in a batchmean):
    #   dx = -g p,  dtarget = g (gap + 1) | g p (gap + 1)
    p, absent, gap = lines(*arrays, log_target)
    g = dy.to(p.dtype)
    if reduction == "batchmean":
        g = g / max(p.shape[0], 1)
    g = each(g, p.numel(), reduction)
    dx = -g * p if needs[0] else None
    return dx, (g * slopes(p, absent, gap, log_target) if needs[1] else None)


def tangent(tangents, arrays, residuals, *, reduction, log_target):
    # dy = reduce(-p tx + dloss/dtarget ttarget)
    p, absent, gap = lines(*arrays, log_target)
    tx, ttarget = tangents
    t = torch.zeros_like(p)
    t = t if tx is None else t - p * tx.to(p.dtype)
    if ttarget is not None:
        t = t + slopes(p, absent, gap, log_target) * ttarget.to(p.dtype)
    return reduced(t, reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def kl_div(x, target, *, reduction="mean", log_target=False):
    """Divergence of target (*N, probabilities or their logarithms) from the log-probabilities x
    (*N). Maths: bpx/losses/kl_div.py."""
    return RULE(x, target, reduction=reduction, log_target=log_target)
