"""linear for PyTorch. Maths, shapes and source: bpx/layers/linear.py."""

import torch

from bpx.layers.linear import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, one_dtype
from bpx_torch._rule import Rule


def rows(x):
    """x (*N D) as one matrix (rows D)."""
    return x.flatten(0, -2) if x.ndim > 1 else x.unsqueeze(0)


def forward(x, weight, bias):
    one_dtype("linear", x, weight=weight, bias=bias)
    return torch.nn.functional.linear(x, weight, bias), ()


def backward(dy, arrays, residuals, needs):
    # dx = dy weight,  dweight = dy^T x,  dbias = sum(dy), the last two over the rows
    x, weight, _ = arrays
    dx = dy @ weight if needs[0] else None
    dweight = rows(dy).T @ rows(x) if needs[1] else None
    dbias = at_least_float32(rows(dy)).sum(0) if needs[2] else None
    return dx, dweight, dbias


def tangent(tangents, arrays, residuals):
    # dy = dx weight^T + x dweight^T + dbias
    x, weight, _ = arrays
    tx, tweight, tbias = tangents
    dy = x.new_zeros((*x.shape[:-1], weight.shape[0]))
    if tx is not None:
        dy = dy + tx @ weight.T
    if tweight is not None:
        dy = dy + x @ tweight.T
    if tbias is not None:
        dy = dy + tbias
    return dy


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="lower")


def linear(x, weight, bias=None):
    """x weight^T + bias; x (*N I), weight (O I), bias (O). Maths: bpx/layers/linear.py."""
    return RULE(x, weight, bias)
