"""jsd for PyTorch. Maths, shapes and source: bpx/losses/jsd.py."""

import math

import torch

from bpx.losses.jsd import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def lines(x, target):
    """p (x - logm) and q (target - logm), 0 where p or q is."""
    x = at_least_float32(x)
    target = target.to(x.dtype)
    p, q = x.exp(), target.exp()
    neither = (p == 0) & (q == 0)  # autodiff of this forward would give NaN for two -inf
    logm = torch.logaddexp(x.masked_fill(neither, 0.0), target.masked_fill(neither, 0.0))
    gap_p, gap_q = (a - logm + math.log(2) for a in (x, target))
    return p * gap_p.masked_fill(p == 0, 0.0), q * gap_q.masked_fill(q == 0, 0.0)


def forward(x, target, *, reduction):
    of_p, of_q = lines(x, target)
    return reduce(0.5 * (of_p + of_q).sum(-1), reduction).to(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, reduction):
    # With g = dy (over the number of rows in a mean):
    #   dx = g/2 p (x - logm),  dtarget = g/2 q (target - logm)
    # the paths through p, through x and through logm add p - (p + q) / 2m p = 0 to either
    of_p, of_q = lines(*arrays)
    g = 0.5 * each(dy.to(of_p.dtype), of_p[..., :1].numel(), reduction).unsqueeze(-1)
    return g * of_p if needs[0] else None, g * of_q if needs[1] else None


def tangent(tangents, arrays, residuals, *, reduction):
    # row by row: 1/2 p (x - logm) . tx + 1/2 q (target - logm) . ttarget
    t = torch.zeros_like(arrays[0], dtype=at_least_float32(arrays[0]).dtype)
    for weight, moved in zip(lines(*arrays), tangents, strict=True):
        t = t if moved is None else t + weight * moved.to(t.dtype)
    return reduce(0.5 * t.sum(-1), reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.jsd"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def jsd(x, target, *, reduction="mean"):
    """Jensen-Shannon divergence of the log-probabilities x and target (*N V). Maths:
    bpx/losses/jsd.py."""
    return RULE(x, target, reduction=reduction)
