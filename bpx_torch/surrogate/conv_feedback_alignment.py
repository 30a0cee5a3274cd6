"""conv_feedback_alignment for PyTorch. Maths, shapes and source:
bpx/surrogate/conv_feedback_alignment.py."""

from functools import partial

import torch

from bpx.rule import Kernel
from bpx.surrogate.conv_feedback_alignment import SPEC
from bpx_torch._rule import Rule
from bpx_torch.kernels.cpu import conv as cpu
from bpx_torch.layers import conv as exact


def forward(x, weight, feedback, bias, **options):
    return exact.forward(x, weight, bias, **options)


def backward(dy, arrays, residuals, needs, *, exactly=exact.backward, **options):
    # dx = dy convolved by feedback, transposed; dweight and dbias, which need no weight, are exact
    x, _, feedback, _ = arrays
    asked = needs[0], needs[1], needs[3]
    dx, dweight, dbias = exactly(dy, (x, feedback, None), (), asked, **options)
    return dx, dweight, torch.zeros_like(feedback) if needs[2] else None, dbias


def tangent(tangents, arrays, residuals, **options):
    # dy = dx * feedback + x * dweight + dbias, whose transpose backward is
    x, _, feedback, _ = arrays
    tx, tweight, _, tbias = tangents
    return exact.tangent((tx, tweight, tbias), (x, feedback, None), (), **options)


NATIVE = Kernel("cpu", forward, partial(backward, exactly=exact.by_core), refuses=cpu.refuses)
RULE = Rule(SPEC, (NATIVE, Kernel("plain", forward, backward, tangent)), autocast="lower")


def conv_feedback_alignment(
    x, weight, feedback, bias=None, *, stride=1, padding=0, dilation=1, groups=1
):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O); dx by feedback, of weight's
    shape and with gradient 0. Maths: bpx/surrogate/conv_feedback_alignment.py."""
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return RULE(x, weight, feedback, bias, **options)
