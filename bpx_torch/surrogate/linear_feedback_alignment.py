"""linear_feedback_alignment for PyTorch. Maths, shapes and source:
bpx/surrogate/linear_feedback_alignment.py."""

import torch

from bpx.rule import Kernel
from bpx.surrogate.linear_feedback_alignment import SPEC
from bpx_torch._rule import Rule
from bpx_torch.layers import linear as exact


def forward(x, weight, feedback, bias):
    return exact.forward(x, weight, bias)


def backward(dy, arrays, residuals, needs):
    # dx = dy feedback,  dweight = dy^T x,  dbias = sum(dy): the exact rule with feedback for weight
    x, _, feedback, _ = arrays
    asked = needs[0], needs[1], needs[3]
    dx, dweight, dbias = exact.backward(dy, (x, feedback, None), (), asked)
    return dx, dweight, torch.zeros_like(feedback) if needs[2] else None, dbias


def tangent(tangents, arrays, residuals):
    # dy = dx feedback^T + x dweight^T + dbias, whose transpose backward is
    x, _, feedback, _ = arrays
    tx, tweight, _, tbias = tangents
    return exact.tangent((tx, tweight, tbias), (x, feedback, None), ())


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="lower")


def linear_feedback_alignment(x, weight, feedback, bias=None):
    """x weight^T + bias; x (*N I), weight and feedback (O I), bias (O). dx = dy feedback; feedback
    has gradient 0. Maths: bpx/surrogate/linear_feedback_alignment.py."""
    return RULE(x, weight, feedback, bias)
