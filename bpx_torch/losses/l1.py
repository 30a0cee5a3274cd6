"""l1 for PyTorch. Maths, shapes and source: bpx/losses/l1.py."""

import torch

from bpx.losses.l1 import SPEC
from bpx_torch.losses._difference import difference

# f = |e|,  f' = sign(e), 0 at 0 and at NaN
RULE = difference(SPEC, torch.abs, lambda sign: sign, lambda e: e.sign().to(torch.int8))


def l1(x, target, *, reduction="mean"):
    """|x - target|, reduced. x, target (*N). Maths: bpx/losses/l1.py."""
    return RULE(x, target, reduction=reduction)
