"""What the tests of recorded calls share: the rules that may be recorded, and how bits compare."""

import torch

import bpx_torch
from bpx_torch import _fast

RULES = {
    n: r
    for n, r in bpx_torch.RULES.items()
    if n in _fast.REPEATED or any(k.name == "cpu" for k in r.kernels)
}
# what their kernels do that is not recorded
NOT_RECORDED = {
    "conv_sign_symmetric": "takes signs",
    "gradient_clip_norm": "reads a number",
    "info_nce": "keeps less in some calls",
    "linear_recurrence": "keeps a part of y",
}


def exactly(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
