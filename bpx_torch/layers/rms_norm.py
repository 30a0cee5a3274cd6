"""rms_norm for PyTorch. Maths, shapes and source: bpx/layers/rms_norm.py."""

import torch

from bpx.layers.rms_norm import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, inverse_root, sum_over
from bpx_torch._rule import Rule


def forward(x, weight, *, eps):
    xf = at_least_float32(x)
    rstd = inverse_root(xf.square().mean(-1, keepdim=True) + eps)
    y = xf * rstd
    y = y if weight is None else y * weight.to(y.dtype)
    return y.to(x.dtype), (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    # With g = dy * weight and xhat = x * rstd:
    #   dx = rstd * (g - xhat * mean(g * xhat)),  dweight = sum(dy * xhat) over the rows
    # xhat * mean(g * xhat) is the path through rstd.
    x, weight = arrays
    (rstd,) = residuals
    dy = dy.to(rstd.dtype)
    xhat = x.to(rstd.dtype) * rstd

    dx = dweight = None
    if needs[0]:
        g = dy if weight is None else dy * weight.to(dy.dtype)
        dx = (rstd * (g - xhat * (g * xhat).mean(-1, keepdim=True))).to(x.dtype)
    if needs[1]:
        dweight = sum_over(dy * xhat, tuple(range(x.ndim - 1)))
    return dx, dweight


def tangent(tangents, arrays, residuals, *, eps):
    # dxhat = rstd * (dx - xhat * mean(dx * xhat));  dy = dxhat * weight + xhat * dweight
    x, weight = arrays
    (rstd,) = residuals
    tx, tweight = tangents
    xhat = x.to(rstd.dtype) * rstd
    dy = torch.zeros_like(xhat)
    if tx is not None:
        tx = tx.to(rstd.dtype)
        dxhat = rstd * (tx - xhat * (tx * xhat).mean(-1, keepdim=True))
        dy = dy + (dxhat if weight is None else dxhat * weight.to(dy.dtype))
    if tweight is not None:
        dy = dy + xhat * tweight.to(dy.dtype)
    return dy.to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.rms_norm"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.rms_norm"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def rms_norm(x, weight=None, *, eps=1e-6):
    """Root-mean-square normalisation of x (*N D) over D; weight (D). Maths:
    bpx/layers/rms_norm.py."""
    return RULE(x, weight, eps=eps)
