"""binary_cross_entropy for PyTorch. Maths, shapes, source: bpx/losses/binary_cross_entropy.py."""

import torch

from bpx.losses.binary_cross_entropy import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def logs(x):
    return torch.log(x).clamp(min=-100), torch.log1p(-x).clamp(min=-100)


def slope(x, target):
    # d bare / dx = (x - target) / (x (1 - x)), the denominator at least 1e-12; NaN outside [0, 1]
    spread = x * (1 - x)
    floor = torch.where(spread < 0, torch.nan, spread.clamp(min=1e-12))
    return (x - target) / floor


def widened(arrays):
    x = at_least_float32(arrays[0])
    return (x, *(None if a is None else a.to(x.dtype) for a in arrays[1:]))


def forward(x, target, weight, *, reduction):
    xf, target, weight = widened((x, target, weight))
    logp, logq = logs(xf)
    loss = -(target * logp + (1 - target) * logq)
    loss = loss if weight is None else loss * weight
    return reduce(loss, reduction).to(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the count in a mean) and gw = g * weight:
    #   dx = gw * (x - target) / max(x (1 - x), 1e-12)
    #   dtarget = gw * (logq - logp),  dweight = -g * (target logp + (1 - target) logq)
    x, target, weight = widened(arrays)
    g = each(dy.to(x.dtype), x.numel(), reduction)
    gw = g if weight is None else g * weight
    logp, logq = logs(x)
    dx = gw * slope(x, target) if needs[0] else None
    dtarget = gw * (logq - logp) if needs[1] else None
    dweight = None
    if needs[2]:
        dweight = (-g * (target * logp + (1 - target) * logq)).sum_to_size(weight.shape)
    return dx, dtarget, dweight


def tangent(tangents, arrays, residuals, *, reduction):
    x, target, weight = widened(arrays)
    tx, ttarget, tweight = (None if t is None else t.to(x.dtype) for t in tangents)
    logp, logq = logs(x)
    t = torch.zeros_like(x)
    t = t if tx is None else t + slope(x, target) * tx
    t = t if ttarget is None else t + (logq - logp) * ttarget
    t = t if weight is None else t * weight
    t = t if tweight is None else t - (target * logp + (1 - target) * logq) * tweight
    return reduce(t, reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def binary_cross_entropy(x, target, weight=None, *, reduction="mean"):
    """Cross-entropy of probabilities x (*N) with target (*N); weight broadcasts to x.
    Maths: bpx/losses/binary_cross_entropy.py."""
    return RULE(x, target, weight, reduction=reduction)
