"""bilinear for PyTorch. Maths, shapes and source: bpx/layers/bilinear.py."""

from bpx.layers.bilinear import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def product(x1, x2):
    """x1_i x2_j of every row, as one axis."""
    return (x1.unsqueeze(-1) * x2.unsqueeze(-2)).flatten(-2)


def flat(weight):
    """(O I J) as the matrix of a linear layer of `product`."""
    return weight.reshape(weight.shape[0], weight.shape[1] * weight.shape[2])


def forward(x1, x2, weight, bias):
    w1, w2, w = map(at_least_float32, (x1, x2, weight))
    y = product(w1, w2) @ flat(w).T
    y = y if bias is None else y + bias.to(y.dtype)
    return y.to(x1.dtype), ()


def backward(dy, arrays, residuals, needs):
    # With u_ij = sum_o dy_o weight_oij of each row:
    #   dx1_i = sum_j u_ij x2_j,  dx2_j = sum_i u_ij x1_i
    #   dweight_oij = sum over the rows of dy_o x1_i x2_j,  dbias = sum(dy) over the rows
    x1, x2, weight = map(at_least_float32, arrays[:3])
    dy = at_least_float32(dy)
    rows = dy.flatten(0, -2) if dy.ndim > 1 else dy.unsqueeze(0)
    dx1 = dx2 = dweight = dbias = None
    if needs[0] or needs[1]:
        u = (dy @ flat(weight)).reshape(*dy.shape[:-1], *weight.shape[1:])
        dx1 = (u @ x2.unsqueeze(-1)).squeeze(-1) if needs[0] else None
        dx2 = (x1.unsqueeze(-2) @ u).squeeze(-2) if needs[1] else None
    if needs[2]:
        p = product(x1, x2)
        dweight = (rows.T @ p.reshape(rows.shape[0], p.shape[-1])).reshape(weight.shape)
    if needs[3]:
        dbias = rows.sum(0)
    return dx1, dx2, dweight, dbias


def tangent(tangents, arrays, residuals):
    # dy = B(dx1, x2) + B(x1, dx2) + dB(x1, x2) + dbias, with B the form of weight
    x1, x2, weight = map(at_least_float32, arrays[:3])
    tx1, tx2, tweight, tbias = (None if t is None else at_least_float32(t) for t in tangents)
    dy = x1.new_zeros((*x1.shape[:-1], weight.shape[0]))
    for a, b, w in ((tx1, x2, weight), (x1, tx2, weight), (x1, x2, tweight)):
        if not any(t is None for t in (a, b, w)):
            dy = dy + product(a, b) @ flat(w).T
    return (dy if tbias is None else dy + tbias).to(arrays[0].dtype)


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),))


def bilinear(x1, x2, weight, bias=None):
    """sum_ij x1_i x2_j weight_oij + bias_o; x1 (*N I), x2 (*N J), weight (O I J), bias (O). Maths:
    bpx/layers/bilinear.py."""
    return RULE(x1, x2, weight, bias)
