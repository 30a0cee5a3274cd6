"""l1 for PyTorch. Maths, shapes and source: bpx/losses/l1.py."""

import torch

from bpx.losses.l1 import SPEC
from bpx_torch.losses._difference import difference


def keep(e):
    # a byte for the sign: -1, 0 or 1, and 2 for NaN
    return (e > 0).to(torch.int8) - (e < 0).to(torch.int8) + 2 * e.isnan().to(torch.int8)


def df(sign):
    # f' = sign(e), 0 at 0
    return torch.where(sign == 2, torch.nan, sign)


RULE = difference(SPEC, torch.abs, df, keep)


def l1(x, target, *, reduction="mean"):
    """|x - target|, reduced. x, target (*N). Maths: bpx/losses/l1.py."""
    return RULE(x, target, reduction=reduction)
