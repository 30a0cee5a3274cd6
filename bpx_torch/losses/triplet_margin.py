"""triplet_margin for PyTorch. Maths, shapes and source: bpx/losses/triplet_margin.py."""

import torch

from bpx.losses.triplet_margin import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def distance(a, b, eps):
    """(u / d, d) of the difference u = a - b + eps; 0 / 0 is 0."""
    u = a - b + eps
    total = u.square().sum(-1, keepdim=True)
    same = total == 0
    d = total.masked_fill(same, 1.0).sqrt()
    return (u / d).masked_fill(same, 0.0), d.masked_fill(same, 0.0).squeeze(-1)


def lines(arrays, margin, swap, eps):
    """(units, shares, z): the directions of the distances anchor-positive, anchor-negative and
    positive-negative, the share of the last two in dn, and dp - dn + margin."""
    anchor = at_least_float32(arrays[0])
    positive, negative = (a.to(anchor.dtype) for a in arrays[1:])
    up, dp = distance(anchor, positive, eps)
    un, dn = distance(anchor, negative, eps)
    if not swap:
        return (up, un, None), (torch.ones_like(dn), None), dp - dn + margin
    us, ds = distance(positive, negative, eps)
    own = torch.where(dn == ds, 0.5, (dn < ds).to(dn.dtype))
    return (up, un, us), (own, 1 - own), dp - torch.minimum(dn, ds) + margin


def forward(anchor, positive, negative, *, margin, swap, eps, reduction):
    _, _, z = lines((anchor, positive, negative), margin, swap, eps)
    return reduce(z.clamp(min=0), reduction).to(anchor.dtype), ()


def backward(dy, arrays, residuals, needs, *, margin, swap, eps, reduction):
    # With g = dy (over the number of rows in a mean) where z >= 0, the unit vectors up, un, us of
    # the three differences, and the shares own + other = 1 of the last two distances in dn:
    #   danchor   =  g up - g own un
    #   dpositive = -g up - g other us
    #   dnegative =  g own un + g other us
    (up, un, us), (own, other), z = lines(arrays, margin, swap, eps)
    g = torch.where(z >= 0, each(dy.to(z.dtype), z.numel(), reduction), 0.0).unsqueeze(-1)
    pull, push = g * up, g * own.unsqueeze(-1) * un
    if not swap:
        return pull - push, -pull, push
    swapped = g * other.unsqueeze(-1) * us
    return pull - push, -pull - swapped, push + swapped


def tangent(tangents, arrays, residuals, *, margin, swap, eps, reduction):
    # row by row, where z >= 0: up . (ta - tp) - own un . (ta - tn) - other us . (tp - tn)
    (up, un, us), (own, other), z = lines(arrays, margin, swap, eps)
    ta, tp, tn = (torch.zeros_like(up) if t is None else t.to(z.dtype) for t in tangents)
    t = (up * (ta - tp)).sum(-1) - own * (un * (ta - tn)).sum(-1)
    if swap:
        t = t - other * (us * (tp - tn)).sum(-1)
    return reduce(torch.where(z >= 0, t, 0.0), reduction).to(arrays[0].dtype)


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="float32")


def triplet_margin(
    anchor, positive, negative, *, margin=1.0, swap=False, eps=1e-6, reduction="mean"
):
    """max(|anchor - positive| - |anchor - negative| + margin, 0), all (*N D). Maths:
    bpx/losses/triplet_margin.py."""
    return RULE(anchor, positive, negative, margin=margin, swap=swap, eps=eps, reduction=reduction)
