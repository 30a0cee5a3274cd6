"""margin_ranking for PyTorch. Maths, shapes and source: bpx/losses/margin_ranking.py."""

import torch

from bpx.losses.margin_ranking import SPEC
from bpx_torch.losses._terms import terms


def lack(x1, x2, target, margin):
    return margin - target * (x1 - x2)


def value(x1, x2, target, *, margin):
    return lack(x1, x2, target, margin).clamp(min=0)


def dx1(x1, x2, target, *, margin):
    # -target where the margin is not kept
    return torch.where(lack(x1, x2, target, margin) >= 0, -target, 0.0)


def dx2(x1, x2, target, *, margin):
    # target there
    return torch.where(lack(x1, x2, target, margin) >= 0, target, 0.0)


def dtarget(x1, x2, target, *, margin):
    # x2 - x1 there
    return torch.where(lack(x1, x2, target, margin) >= 0, x2 - x1, 0.0)


RULE = terms(SPEC, value, (dx1, dx2, dtarget))


def margin_ranking(x1, x2, target, *, margin=0.0, reduction="mean"):
    """max(margin - target * (x1 - x2), 0); x1, x2, target (*N). Maths:
    bpx/losses/margin_ranking.py."""
    return RULE(x1, x2, target, margin=margin, reduction=reduction)
