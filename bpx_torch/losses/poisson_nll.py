"""poisson_nll for PyTorch. Maths, shapes and source: bpx/losses/poisson_nll.py."""

import math

import torch

from bpx.losses.poisson_nll import SPEC
from bpx_torch.losses._terms import terms


def counts(target):
    """(where Stirling's term counts, target there and 1 elsewhere)."""
    many = target > 1
    return many, target.masked_fill(~many, 1.0)


def value(x, target, *, log_input, full, eps):
    loss = x.exp() - target * x if log_input else x - target * (x + eps).log()
    if full:
        many, n = counts(target)
        loss = loss + torch.where(many, (n + 0.5) * n.log() - n + 0.5 * math.log(2 * math.pi), 0.0)
    return loss


def dx(x, target, *, log_input, full, eps):
    # e^x - target | 1 - target / (x + eps)
    return x.exp() - target if log_input else 1 - target / (x + eps)


def dtarget(x, target, *, log_input, full, eps):
    # -x | -log(x + eps),  and log(target) + 1 / (2 target) from Stirling's term
    slope = -x if log_input else -(x + eps).log()
    if full:
        many, n = counts(target)
        slope = slope + torch.where(many, n.log() + 0.5 / n, 0.0)
    return slope


RULE = terms(SPEC, value, (dx, dtarget))


def poisson_nll(x, target, *, log_input=True, full=False, eps=1e-8, reduction="mean"):
    """-log p(target) under the rate exp(x), or x; x, target (*N). Maths:
    bpx/losses/poisson_nll.py."""
    return RULE(x, target, log_input=log_input, full=full, eps=eps, reduction=reduction)
