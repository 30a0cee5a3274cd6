"""layer_norm for PyTorch. Maths, shapes and source: bpx/layers/layer_norm.py."""

import torch

from bpx.layers.layer_norm import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, inverse_root, sum_over
from bpx_torch._rule import Rule


def forward(x, weight, bias, *, eps):
    xf = at_least_float32(x)
    mu = xf.mean(-1, keepdim=True)
    xc = xf - mu
    rstd = inverse_root(xc.square().mean(-1, keepdim=True) + eps)
    y = xc * rstd
    y = y if weight is None else y * weight.to(y.dtype)
    y = y if bias is None else y + bias.to(y.dtype)
    return y.to(x.dtype), (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    # With g = dy * weight and xhat = (x - mu) * rstd:
    #   dx = rstd * (g - mean(g) - xhat * mean(g * xhat))
    #   dweight = sum(dy * xhat),  dbias = sum(dy)              over the rows
    # mean(g) is the path through mu, xhat * mean(g * xhat) the path through rstd.
    x, weight, _ = arrays
    mu, rstd = residuals
    dy = dy.to(mu.dtype)
    xhat = (x.to(mu.dtype) - mu) * rstd
    rows = tuple(range(x.ndim - 1))

    dx = dweight = dbias = None
    if needs[0]:
        g = dy if weight is None else dy * weight.to(dy.dtype)
        dx = rstd * (g - g.mean(-1, keepdim=True) - xhat * (g * xhat).mean(-1, keepdim=True))
        dx = dx.to(x.dtype)
    if needs[1]:
        dweight = sum_over(dy * xhat, rows)
    if needs[2]:
        dbias = sum_over(dy, rows)
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals, *, eps):
    # dxhat = rstd * (dx - mean(dx) - xhat * mean(dx * xhat));  dy = dxhat * weight + xhat *
    # dweight + dbias
    x, weight, _ = arrays
    mu, rstd = residuals
    tx, tweight, tbias = tangents
    xhat = (x.to(mu.dtype) - mu) * rstd
    dy = torch.zeros_like(xhat)
    if tx is not None:
        tx = tx.to(mu.dtype)
        dxhat = rstd * (tx - tx.mean(-1, keepdim=True) - xhat * (tx * xhat).mean(-1, keepdim=True))
        dy = dy + (dxhat if weight is None else dxhat * weight.to(dy.dtype))
    if tweight is not None:
        dy = dy + xhat * tweight.to(dy.dtype)
    if tbias is not None:
        dy = dy + tbias.to(dy.dtype)
    return dy.to(x.dtype)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.layer_norm"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.layer_norm"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """Layer normalisation of x (*N D) over D; weight and bias (D). Maths:
    bpx/layers/layer_norm.py."""
    return RULE(x, weight, bias, eps=eps)
