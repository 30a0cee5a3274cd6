"""cosine_embedding for PyTorch. Maths, shapes and source: bpx/losses/cosine_embedding.py."""

import torch

from bpx.losses.cosine_embedding import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def widened(arrays):
    x1 = at_least_float32(arrays[0])
    return (x1, *(a.to(x1.dtype) for a in arrays[1:]))


def lines(x1, x2, eps):
    """(1 / |x1|, 1 / |x2|, cos)."""
    r1 = (x1.square().sum(-1) + eps).rsqrt()
    r2 = (x2.square().sum(-1) + eps).rsqrt()
    return r1, r2, (x1 * x2).sum(-1) * r1 * r2


def slopes(cos, target, margin):
    """(dloss / dcos, dloss / dtarget)."""
    high = cos - margin >= 0
    dcos = 0.5 * (torch.where(high, 1 - target, 0.0) - 1 - target)
    # where, and no clamp, whose slope at 0 differs between versions of torch
    return dcos, 0.5 * (1 - cos - torch.where(high, cos - margin, 0.0))


def pulls(x1, x2, r1, r2, cos):
    """(dcos / dx1, dcos / dx2): the other's direction, less the part along the own."""
    r1, r2, cos = r1.unsqueeze(-1), r2.unsqueeze(-1), cos.unsqueeze(-1)
    return r1 * (r2 * x2 - cos * r1 * x1), r2 * (r1 * x1 - cos * r2 * x2)


def forward(x1, x2, target, *, margin, eps, reduction):
    w1, w2, t = widened((x1, x2, target))
    _, _, cos = lines(w1, w2, eps)
    loss = 0.5 * ((1 + t) * (1 - cos) + (1 - t) * (cos - margin).clamp(min=0))
    return reduce(loss, reduction).to(x1.dtype), ()


def backward(dy, arrays, residuals, needs, *, margin, eps, reduction):
    # With g = dy (over the number of rows in a mean) and
    # dcos = g (-(1 + target) + (1 - target) [cos >= margin]) / 2:
    #   dx1 = dcos / |x1| (x2 / |x2| - cos x1 / |x1|),  dx2 the same with 1 and 2 exchanged
    #   dtarget = g (1 - cos - max(cos - margin, 0)) / 2
    x1, x2, target = widened(arrays)
    r1, r2, cos = lines(x1, x2, eps)
    g = each(dy.to(x1.dtype), cos.numel(), reduction)
    dcos, dtarget = slopes(cos, target, margin)
    p1, p2 = pulls(x1, x2, r1, r2, cos)
    dcos = (g * dcos).unsqueeze(-1)
    return (
        dcos * p1 if needs[0] else None,
        dcos * p2 if needs[1] else None,
        g * dtarget if needs[2] else None,
    )


def tangent(tangents, arrays, residuals, *, margin, eps, reduction):
    # row by row: dloss/dcos * (dcos/dx1 . tx1 + dcos/dx2 . tx2) + dloss/dtarget * ttarget
    x1, x2, target = widened(arrays)
    r1, r2, cos = lines(x1, x2, eps)
    dcos, dtarget = slopes(cos, target, margin)
    t = torch.zeros_like(cos)
    for pull, tx in zip(pulls(x1, x2, r1, r2, cos), tangents[:2], strict=True):
        t = t if tx is None else t + dcos * (pull * tx.to(t.dtype)).sum(-1)
    t = t if tangents[2] is None else t + dtarget * tangents[2].to(t.dtype)
    return reduce(t, reduction).to(arrays[0].dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.cosine_embedding"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="float32",
)


def cosine_embedding(x1, x2, target, *, margin=0.0, eps=1e-12, reduction="mean"):
    """1 - cos(x1, x2) where target (*N) is 1, max(cos - margin, 0) where it is -1; x1, x2 (*N D).
    Maths: bpx/losses/cosine_embedding.py."""
    return RULE(x1, x2, target, margin=margin, eps=eps, reduction=reduction)
