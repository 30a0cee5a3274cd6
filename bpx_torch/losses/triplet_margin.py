"""triplet_margin for PyTorch. Maths, shapes and source: bpx/losses/triplet_margin.py."""

import torch

from bpx.losses.triplet_margin import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.losses._reduction import each, reduce


def differences(anchor, positive, negative, swap, eps):
    """What is kept: anchor - positive, anchor - negative, and positive - negative with swap, none
    without; eps added to each."""
    anchor = at_least_float32(anchor)
    positive, negative = (a.to(anchor.dtype) for a in (positive, negative))
    up, un = anchor - positive + eps, anchor - negative + eps
    if not swap:
        return up, un, up.new_empty((0, *up.shape))
    return up, un, (positive - negative + eps).unsqueeze(0)


def lines(kept, margin, swap):
    """(distances, shares, z): the lengths of the differences, the share of the last two in dn, and
    dp - dn + margin."""
    dp, dn = (torch.linalg.vector_norm(u, dim=-1) for u in kept[:2])
    if not swap:
        return (dp, dn, None), (torch.ones_like(dn), None), dp - dn + margin
    ds = torch.linalg.vector_norm(kept[2][0], dim=-1)
    own = torch.where(dn == ds, 0.5, (dn < ds).to(dn.dtype))
    return (dp, dn, ds), (own, 1 - own), dp - torch.minimum(dn, ds) + margin


def over(g, d):
    """g / d beside a difference of length d; 0 where the difference is."""
    return (g / d).masked_fill(d == 0, 0.0).unsqueeze(-1)


def forward(anchor, positive, negative, *, margin, swap, eps, reduction):
    kept = differences(anchor, positive, negative, swap, eps)
    _, _, z = lines(kept, margin, swap)
    return reduce(z.clamp(min=0), reduction).to(anchor.dtype), kept


def backward(dy, arrays, residuals, needs, *, margin, swap, eps, reduction):
    # With g = dy (over the number of rows in a mean) where z >= 0, the differences up, un, us over
    # their lengths, and the shares own + other = 1 of the last two distances in dn:
    #   danchor   =  g up / dp - g own un / dn
    #   dpositive = -g up / dp - g other us / ds
    #   dnegative =  g own un / dn + g other us / ds
    (dp, dn, ds), (own, other), z = lines(residuals, margin, swap)
    g = torch.where(z >= 0, each(dy.to(z.dtype), z.numel(), reduction), 0.0)
    pull, push = over(g, dp) * residuals[0], over(g * own, dn) * residuals[1]
    if not swap:
        return pull - push, -pull, push
    swapped = over(g * other, ds) * residuals[2][0]
    return pull - push, -pull - swapped, push + swapped


def tangent(tangents, arrays, residuals, *, margin, swap, eps, reduction):
    # where z >= 0, row by row: up . (ta - tp) / dp - own un . (ta - tn) / dn
    #                           - other us . (tp - tn) / ds
    (dp, dn, ds), (own, other), z = lines(residuals, margin, swap)
    tp, tn, ts = residuals_tangent(tangents, arrays, residuals, swap=swap)
    up, un, us = residuals
    t = (over(torch.ones_like(dp), dp) * up * tp - over(own, dn) * un * tn).sum(-1)
    if swap:
        t = t - (over(other, ds) * us[0] * ts[0]).sum(-1)
    return reduce(torch.where(z >= 0, t, 0.0), reduction)


def residuals_backward(dresiduals, arrays, residuals, needs, *, swap, **options):
    # pulled = anchor - positive,  pushed = anchor - negative,  swapped = positive - negative
    given = zip(dresiduals, residuals, strict=True)
    dp, dn, ds = (torch.zeros_like(r) if d is None else d for d, r in given)
    ds = ds[0] if swap else torch.zeros_like(dp)
    return dp + dn, ds - dp, -dn - ds


def residuals_tangent(tangents, arrays, residuals, *, swap, **options):
    like = residuals[0]
    ta, tp, tn = (torch.zeros_like(like) if t is None else t.to(like.dtype) for t in tangents)
    ts = (tp - tn).unsqueeze(0) if swap else torch.zeros_like(residuals[2])
    return ta - tp, ta - tn, ts


PLAIN = Kernel(
    "plain",
    forward,
    backward,
    tangent,
    residuals_backward=residuals_backward,
    residuals_tangent=residuals_tangent,
)
RULE = Rule(
    SPEC,
    (Kernel.lazy("cpu", "bpx_torch.kernels.cpu.triplet_margin"), PLAIN),
    autocast="float32",
)


def triplet_margin(
    anchor, positive, negative, *, margin=1.0, swap=False, eps=1e-6, reduction="mean"
):
    """max(|anchor - positive| - |anchor - negative| + margin, 0), all (*N D). Maths:
    bpx/losses/triplet_margin.py."""
    return RULE(anchor, positive, negative, margin=margin, swap=swap, eps=eps, reduction=reduction)
