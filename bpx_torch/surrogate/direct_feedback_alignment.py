"""direct_feedback_alignment for PyTorch. Maths, shapes and source:
bpx/surrogate/direct_feedback_alignment.py."""

import torch

from bpx.rule import Kernel
from bpx.surrogate.direct_feedback_alignment import SPEC
from bpx_torch._rule import Rule


def forward(x, h, feedback):
    return x.view_as(x), ()


def backward(dy, arrays, residuals, needs):
    # dx = dy,  dh = dy feedback,  dfeedback = 0
    _, _, feedback = arrays
    dh = dy @ feedback if needs[1] else None
    return dy, dh, torch.zeros_like(feedback) if needs[2] else None


RULE = Rule(SPEC, (Kernel("plain", forward, backward),), autocast="lower")


def direct_feedback_alignment(x, h, feedback):
    """x (*N O) as it is, the output of a network; the hidden layer h (*N H) gets the gradient
    dy feedback, with feedback (O H). Maths: bpx/surrogate/direct_feedback_alignment.py."""
    return RULE(x, h, feedback)
