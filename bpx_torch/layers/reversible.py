"""reversible for PyTorch. Maths, shapes and source: bpx/layers/reversible.py."""

import torch

from bpx.layers.reversible import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def branch(v, w):
    return torch.tanh(v @ w.to(v.dtype).T)


def forward(x, w_f, w_g):
    x1, x2 = at_least_float32(x).chunk(2, -1)
    y1 = x1 + branch(x2, w_f)
    y = torch.cat([y1, x2 + branch(y1, w_g)], -1).to(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs):
    # By inversion: g = tanh(y1 w_g^T),  x2 = y2 - g,  f = tanh(x2 w_f^T). Then
    #   dx1 = dy1 + db w_g,  dx2 = dy2 + da w_f,  dw_g = sum(db^T y1),  dw_f = sum(da^T x2)
    #   db = dy2 (1 - g^2),  da = dx1 (1 - f^2)
    _, w_f, w_g = arrays
    y1, y2 = at_least_float32(residuals[0]).chunk(2, -1)
    dy1, dy2 = dy.to(y1.dtype).chunk(2, -1)
    g = branch(y1, w_g)
    x2 = y2 - g
    db = dy2 * (1 - g.square())
    dx1 = dy1 + db @ w_g.to(db.dtype)
    dx = dw_f = None
    if needs[0] or needs[1]:
        da = dx1 * (1 - branch(x2, w_f).square())
        dx = torch.cat([dx1, dy2 + da @ w_f.to(da.dtype)], -1) if needs[0] else None
        dw_f = over_rows(da, x2) if needs[1] else None
    return dx, dw_f, (over_rows(db, y1) if needs[2] else None)


def over_rows(da, v):
    return da.reshape(-1, da.shape[-1]).T @ v.reshape(-1, v.shape[-1])


def tangent(tangents, arrays, residuals):
    # ty1 = tx1 + (1 - f^2) (tx2 w_f^T + x2 tw_f^T),  ty2 = tx2 + (1 - g^2) (ty1 w_g^T + y1 tw_g^T)
    _, w_f, w_g = arrays
    tx, tw_f, tw_g = tangents
    y1, y2 = at_least_float32(residuals[0]).chunk(2, -1)
    g = branch(y1, w_g)
    x2 = y2 - g
    tx = torch.zeros_like(residuals[0]) if tx is None else tx
    tx1, tx2 = tx.to(y1.dtype).chunk(2, -1)
    ty1 = tx1 + (1 - branch(x2, w_f).square()) * moved(tx2, w_f, x2, tw_f)
    ty2 = tx2 + (1 - g.square()) * moved(ty1, w_g, y1, tw_g)
    return torch.cat([ty1, ty2], -1).to(residuals[0].dtype)


def moved(tv, w, v, tw):
    t = tv @ w.to(tv.dtype).T
    return t if tw is None else t + v @ tw.to(v.dtype).T


RULE = Rule(SPEC, (Kernel("plain", forward, backward, tangent),), autocast="lower")


def reversible(x, w_f, w_g):
    """A reversible block over the halves of x (*N W), with branches tanh(v w^T), w_f and w_g (D D),
    W = 2 D; x is not kept. Maths: bpx/layers/reversible.py."""
    return RULE(x, w_f, w_g)
