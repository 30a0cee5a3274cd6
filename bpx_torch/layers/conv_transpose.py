"""conv_transpose for PyTorch. Maths, shapes and source: bpx/layers/conv_transpose.py."""

from functools import partial

import torch

from bpx.layers.conv_transpose import SPEC
from bpx.rule import Kernel
from bpx_torch._conv import (
    CONV_TRANSPOSE,
    along_channels,
    laid_like,
    match,
    narrow,
    per_axis,
)
from bpx_torch._dtype import at_least_float32, one_dtype
from bpx_torch._rule import Rule
from bpx_torch.kernels.cpu import conv as cpu


def spread(x, weight, bias, stride, padding, output_padding, dilation, groups):
    f = CONV_TRANSPOSE[x.ndim - 2]
    return f(x, weight, bias, stride, padding, output_padding, groups, dilation)


def forward(x, weight, bias, **options):
    one_dtype("conv_transpose", x, weight=weight, bias=bias)
    return spread(x, weight, bias, **options), ()


def backward(
    dy,
    arrays,
    residuals,
    needs,
    *,
    stride,
    padding,
    output_padding,
    dilation,
    groups,
    match=match,
):
    # dx      = the convolution of dy by weight; the tail of output_padding meets no window, or is
    #           reached by windows that x has not
    # dweight = dy matched with x: a convolution with batch and channels exchanged
    # dbias   = sum(dy) over rows and places
    x, weight, _ = arrays
    n, kernel = x.ndim - 2, weight.shape[2:]
    stride, low, dilation = (per_axis(v, n) for v in (stride, padding, dilation))
    dx = dweight = dbias = None
    if needs[0]:
        dx = narrow(dy, weight, None, stride, low, dilation, groups)
        for axis, size in enumerate(x.shape[2:], 2):
            dx = dx.narrow(axis, 0, size)
        dx = laid_like(dx, x, weight)
    if needs[1]:
        dweight = laid_like(match(dy, x, kernel, stride, low, dilation, groups), weight, x)
    if needs[2]:
        dbias = at_least_float32(dy).sum((0, *range(2, dy.ndim)))
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals, **options):
    # dy = dx * weight + x * dweight + dbias
    x, weight, _ = arrays
    tx, tweight, tbias = tangents
    parts = []
    if tx is not None:
        parts.append(spread(tx, weight, None, **options))
    if tweight is not None:
        parts.append(spread(x, tweight, None, **options))
    dy = sum(parts[1:], parts[0]) if parts else torch.zeros_like(spread(*arrays, **options))
    return dy if tbias is None else dy + along_channels(tbias, dy)


NATIVE = Kernel("cpu", forward, partial(backward, match=cpu.match), refuses=cpu.refuses)
RULE = Rule(SPEC, (NATIVE, Kernel("plain", forward, backward, tangent)), autocast="lower")


def conv_transpose(
    x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1
):
    """Transposed convolution of x (B C *S) by weight (C K *W), bias (K groups). Maths:
    bpx/layers/conv_transpose.py."""
    return RULE(
        x,
        weight,
        bias,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
