"""conv for PyTorch. Maths, shapes and source: bpx/layers/conv.py."""

from functools import partial

import torch

from bpx.layers.conv import SPEC
from bpx.rule import Kernel
from bpx_torch._conv import (
    along_channels,
    laid_like,
    narrow,
    padded_behind,
    parameters,
    per_axis,
    widen,
)
from bpx_torch._dtype import one_dtype
from bpx_torch._rule import Rule
from bpx_torch.kernels.cpu import conv as cpu


def axes(x, kernel, stride, padding, dilation):
    """Stride, zeros before each axis, further zeros behind it, and dilation, one for each axis."""
    n = x.ndim - 2
    dilation = per_axis(dilation, n)
    if padding != "same":
        low = per_axis(0 if padding == "valid" else padding, n)
        return per_axis(stride, n), low, (0,) * n, dilation
    total = tuple(d * (w - 1) for d, w in zip(dilation, kernel, strict=True))
    return per_axis(stride, n), tuple(t // 2 for t in total), tuple(t % 2 for t in total), dilation


def convolved(x, weight, bias, *, stride, padding, dilation, groups):
    stride, low, more, dilation = axes(x, weight.shape[2:], stride, padding, dilation)
    return narrow(padded_behind(x, more), weight, bias, stride, low, dilation, groups)


def forward(x, weight, bias, **options):
    one_dtype("conv", x, weight=weight, bias=bias)
    return convolved(x, weight, bias, **options), ()


def backward(
    dy,
    arrays,
    residuals,
    needs,
    *,
    stride,
    padding,
    dilation,
    groups,
    parameters=parameters,
    widen=widen,
):
    # dx      = the convolution of dy by weight, transposed, over the sizes of x
    # dweight = x matched with dy: a convolution with batch and channels exchanged
    # dbias   = sum(dy) over rows and places
    x, weight, _ = arrays
    stride, low, _, dilation = axes(x, weight.shape[2:], stride, padding, dilation)
    rest = stride, low, dilation, groups
    dx = None
    if needs[0]:
        dx = laid_like(widen(dy, weight, x.shape[2:], *rest), x, weight)
    dweight, dbias = parameters(x, dy, weight, *rest, needs[1:])
    return dx, None if dweight is None else laid_like(dweight, weight, x), dbias


def tangent(tangents, arrays, residuals, **options):
    # dy = dx * weight + x * dweight + dbias
    x, weight, _ = arrays
    tx, tweight, tbias = tangents
    parts = []
    if tx is not None:
        parts.append(convolved(tx, weight, None, **options))
    if tweight is not None:
        parts.append(convolved(x, tweight, None, **options))
    dy = sum(parts[1:], parts[0]) if parts else torch.zeros_like(convolved(*arrays, **options))
    return dy if tbias is None else dy + along_channels(tbias, dy)


by_core = partial(backward, parameters=cpu.parameters, widen=cpu.widen)
NATIVE = Kernel("cpu", forward, by_core, refuses=cpu.refuses)
RULE = Rule(SPEC, (NATIVE, Kernel("plain", forward, backward, tangent)), autocast="lower")


def conv(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O). Maths: bpx/layers/conv.py."""
    return RULE(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
