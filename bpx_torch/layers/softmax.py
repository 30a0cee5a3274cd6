"""softmax for PyTorch. Maths, shapes and source: bpx/layers/softmax.py."""

import torch

from bpx.layers.softmax import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def forward(x, *, dim):
    y = torch.softmax(at_least_float32(x), dim).to(x.dtype)
    return y, (y,)


def slope_times(v, y, dim):
    # y (v - sum(v y)): v through the numerator, the sum through the denominator. Symmetric, so that
    # it serves both modes.
    yf, vf = at_least_float32(y), at_least_float32(v)
    return (yf * (vf - (vf * yf).sum(dim, keepdim=True))).to(v.dtype)


def backward(dy, arrays, residuals, needs, *, dim):
    return (slope_times(dy, residuals[0], dim),)


def tangent(tangents, arrays, residuals, *, dim):
    return slope_times(tangents[0], residuals[0], dim)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.softmax"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.softmax"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def softmax(x, *, dim=-1):
    """Softmax of x (*N) over `dim`. Maths: bpx/layers/softmax.py."""
    return RULE(x, dim=dim)
