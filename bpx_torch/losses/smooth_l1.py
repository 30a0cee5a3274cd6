"""smooth_l1 for PyTorch. Maths, shapes and source: bpx/losses/smooth_l1.py."""

import torch

from bpx.losses.smooth_l1 import SPEC
from bpx_torch.losses._difference import difference


def f(e, *, beta):
    size = e.abs()
    if beta == 0:
        return size
    return torch.where(size < beta, e.square() * (0.5 / beta), size - 0.5 * beta)


def df(e, *, beta):
    # f' = e / beta inside, sign(e) outside
    if beta == 0:
        return torch.sign(e)
    return torch.where(e.abs() >= beta, torch.sign(e), e / beta)


RULE = difference(SPEC, f, df)


def smooth_l1(x, target, *, reduction="mean", beta=1.0):
    """Smooth L1 loss of x - target, reduced. x, target (*N). Maths: bpx/losses/smooth_l1.py."""
    return RULE(x, target, reduction=reduction, beta=beta)
