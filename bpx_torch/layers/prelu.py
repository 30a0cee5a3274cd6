"""prelu for PyTorch. Maths, shapes and source: bpx/layers/prelu.py."""

import torch

from bpx.layers.prelu import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, sum_over
from bpx_torch._rule import Rule


def slopes(weight, x, axis):
    """weight (K) beside x, along its channels, in the accumulation dtype of x."""
    shape = [1] * x.ndim
    if weight.shape[0] != 1:
        shape[axis] = -1
    return weight.to(at_least_float32(x).dtype).reshape(shape)


def forward(x, weight, *, axis):
    xf = at_least_float32(x)
    return torch.where(xf > 0, xf, slopes(weight, x, axis) * xf).to(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, axis):
    # dx = dy where x > 0, weight dy elsewhere;  dweight = sum(x dy where x <= 0) but for channels
    x, weight = arrays
    xf, dyf = at_least_float32(x), at_least_float32(dy)
    dx = dweight = None
    if needs[0]:
        dx = torch.where(xf > 0, dyf, slopes(weight, x, axis) * dyf).to(x.dtype)
    if needs[1]:
        channels = axis % x.ndim if weight.shape[0] != 1 else None
        rest = tuple(i for i in range(x.ndim) if i != channels)
        dweight = sum_over(torch.where(xf > 0, 0.0, xf * dyf), rest).reshape(weight.shape)
    return dx, dweight


def tangent(tangents, arrays, residuals, *, axis):
    # dy = dx where x > 0, weight dx + x dweight elsewhere
    x, weight = arrays
    tx, tweight = tangents
    xf = at_least_float32(x)
    dy = torch.zeros_like(xf)
    if tx is not None:
        dy = dy + torch.where(xf > 0, 1.0, slopes(weight, x, axis)) * at_least_float32(tx)
    if tweight is not None:
        dy = dy + torch.where(xf > 0, 0.0, xf) * slopes(tweight, x, axis)
    return dy.to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.prelu"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="lower",
)


def prelu(x, weight, *, axis=1):
    """x (*N) above 0, weight (K) times x below; K is 1 or the size of x along `axis`."""
    return RULE(x, weight, axis=axis)
