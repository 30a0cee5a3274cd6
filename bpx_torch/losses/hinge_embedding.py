"""hinge_embedding for PyTorch. Maths, shapes and source: bpx/losses/hinge_embedding.py."""

import torch

from bpx.losses.hinge_embedding import SPEC
from bpx_torch.losses._terms import terms


def value(x, target, *, margin):
    return 0.5 * ((1 + target) * x + (1 - target) * (margin - x).clamp(min=0))


def dx(x, target, *, margin):
    # (1 + target) / 2,  and -(1 - target) / 2 up to the margin
    return 0.5 * (1 + target - torch.where(margin - x >= 0, 1 - target, 0.0))


def dtarget(x, target, *, margin):
    # (x - far) / 2; where, and no clamp, whose slope at 0 differs between versions of torch
    return 0.5 * (x - torch.where(margin - x >= 0, margin - x, 0.0))


RULE = terms(SPEC, value, (dx, dtarget))


def hinge_embedding(x, target, *, margin=1.0, reduction="mean"):
    """The distance x (*N) where target (*N) is 1, max(margin - x, 0) where it is -1. Maths:
    bpx/losses/hinge_embedding.py."""
    return RULE(x, target, margin=margin, reduction=reduction)
