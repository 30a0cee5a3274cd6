"""gaussian_nll for PyTorch. Maths, shapes and source: bpx/losses/gaussian_nll.py."""

import math

from bpx.losses.gaussian_nll import SPEC
from bpx_torch.losses._terms import terms


def value(x, target, var, *, full, eps):
    v = var.clamp(min=eps)
    loss = 0.5 * (v.log() + (x - target).square() / v)
    return loss + 0.5 * math.log(2 * math.pi) if full else loss


def dx(x, target, var, *, full, eps):
    # e / v
    return (x - target) / var.clamp(min=eps)


def dtarget(x, target, var, *, full, eps):
    # -e / v
    return (target - x) / var.clamp(min=eps)


def dvar(x, target, var, *, full, eps):
    # (1 - e^2 / v) / 2v, below eps too
    v = var.clamp(min=eps)
    return 0.5 * (1 - (x - target).square() / v) / v


# torch has no such operation: on CUDA its logarithm makes float32, on a CPU nothing does
RULE = terms(SPEC, value, (dx, dtarget, dvar), {"": "float32", "cpu": "keep"})


def gaussian_nll(x, target, var, *, full=False, eps=1e-6, reduction="mean"):
    """-log p(target) under a normal distribution of mean x and variance var, all (*N). Maths:
    bpx/losses/gaussian_nll.py."""
    return RULE(x, target, var, full=full, eps=eps, reduction=reduction)
