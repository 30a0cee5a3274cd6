"""huber for PyTorch. Maths, shapes and source: bpx/losses/huber.py."""

import torch

from bpx.losses.huber import SPEC
from bpx_torch.losses._difference import difference


def f(e, *, delta):
    size = e.abs()
    return torch.where(size < delta, 0.5 * e.square(), delta * (size - 0.5 * delta))


def df(e, *, delta):
    # f' = e inside, delta * sign(e) outside; a clamp would have second derivative 1 at the joint
    return torch.where(e.abs() >= delta, delta * torch.sign(e), e)


RULE = difference(SPEC, f, df)


def huber(x, target, *, reduction="mean", delta=1.0):
    """Huber loss of x - target, reduced. x, target (*N); delta > 0. Maths: bpx/losses/huber.py."""
    return RULE(x, target, reduction=reduction, delta=delta)
