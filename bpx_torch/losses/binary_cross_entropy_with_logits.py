"""binary_cross_entropy_with_logits for PyTorch.

Maths, shapes and source: bpx/losses/binary_cross_entropy_with_logits.py.
"""

import torch
import torch.nn.functional as F

from bpx.losses.binary_cross_entropy_with_logits import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def lines(arrays):
    """Everything widened, with miss = softplus(-logits) and alarm = softplus(logits)."""
    z = at_least_float32(arrays[0])
    rest = (None if a is None else a.to(z.dtype) for a in arrays[1:])
    # logsigmoid has no threshold, softplus drops exp(-z) from z = 20 on
    return (z, *rest, -F.logsigmoid(z), -F.logsigmoid(-z))


def scaled(a, b):
    return a if b is None else a * b


def forward(logits, target, weight, pos_weight, *, reduction):
    _, target, weight, pos, miss, alarm = lines((logits, target, weight, pos_weight))
    loss = scaled(scaled(target * miss, pos) + (1 - target) * alarm, weight)
    return reduce(loss, reduction).to(logits.dtype), ()


def slope(z, target, pos):
    # d bare / dlogits: a negative pushes down by sigmoid(z), a positive up by 1 - sigmoid(z)
    return (1 - target) * torch.sigmoid(z) - scaled(target * torch.sigmoid(-z), pos)


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the count in a mean) and gw = g * weight:
    #   dlogits = gw * ((1 - target) sigmoid(z) - pos_weight target sigmoid(-z))
    #   dtarget = gw * (pos_weight miss - alarm)
    #   dweight = g * (pos_weight target miss + (1 - target) alarm)
    #   dpos_weight = gw * target * miss          the last two summed over the axes they span
    z, target, weight, pos, miss, alarm = lines(arrays)
    g = each(dy.to(z.dtype), z.numel(), reduction)
    gw = scaled(g, weight)
    dlogits = gw * slope(z, target, pos) if needs[0] else None
    dtarget = gw * (scaled(miss, pos) - alarm) if needs[1] else None
    dweight = dpos = None
    if needs[2]:
        bare = scaled(target * miss, pos) + (1 - target) * alarm
        dweight = (g * bare).sum_to_size(weight.shape)
    if needs[3]:
        dpos = (gw * target * miss).sum_to_size(pos.shape)
    return dlogits, dtarget, dweight, dpos


def tangent(tangents, arrays, residuals, *, reduction):
    z, target, weight, pos, miss, alarm = lines(arrays)
    tz, ttarget, tweight, tpos = (None if t is None else t.to(z.dtype) for t in tangents)
    t = torch.zeros_like(z)
    t = t if tz is None else t + slope(z, target, pos) * tz
    t = t if ttarget is None else t + (scaled(miss, pos) - alarm) * ttarget
    t = t if tpos is None else t + target * miss * tpos
    t = scaled(t, weight)
    if tweight is not None:
        t = t + (scaled(target * miss, pos) + (1 - target) * alarm) * tweight
    return reduce(t, reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.losses", SPEC.name),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def binary_cross_entropy_with_logits(
    logits, target, weight=None, pos_weight=None, *, reduction="mean"
):
    """Cross-entropy of sigmoid(logits) (*N) with target (*N); weight and pos_weight broadcast to
    logits. Maths: bpx/losses/binary_cross_entropy_with_logits.py."""
    return RULE(logits, target, weight, pos_weight, reduction=reduction)
