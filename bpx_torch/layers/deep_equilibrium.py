"""deep_equilibrium for PyTorch. Maths, shapes and source: bpx/layers/deep_equilibrium.py."""

import torch

from bpx.layers.deep_equilibrium import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule


def forward(x, w_zz, w_xz, bias, *, max_iter):
    b_x = at_least_float32(x) @ w_xz.to(at_least_float32(x).dtype).T
    b_x = b_x if bias is None else b_x + bias.to(b_x.dtype)
    w, z = w_zz.to(b_x.dtype).T, torch.zeros_like(b_x)
    for _ in range(max_iter):
        before, z = z, torch.tanh(z @ w + b_x)
    near = torch.finfo(z.dtype).eps ** 0.5
    far = (z - before).detach().abs().amax(-1, keepdim=True)
    lost = ~(far <= near * (1 + z.detach().abs().amax(-1, keepdim=True)))
    y = z.masked_fill(lost, torch.nan).to(x.dtype)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, max_iter):
    # dz = dy + (dz * s) w_zz,  s = 1 - y^2       by its own iteration, as contracting as y's
    # da = dz * s,  dx = da w_xz,  dw_zz = sum(da^T y),  dw_xz = sum(da^T x),  dbias = sum(da)
    x, w_zz, w_xz, _ = arrays
    y = at_least_float32(residuals[0])
    slope, w, dy = 1 - y.square(), w_zz.to(y.dtype), dy.to(y.dtype)
    dz = dy
    for _ in range(max_iter):
        dz = dy + (dz * slope) @ w
    da = dz * slope
    rows = da.reshape(-1, da.shape[-1])
    dx = da @ w_xz.to(da.dtype) if needs[0] else None
    dw_zz = rows.T @ y.reshape(rows.shape) if needs[1] else None
    dw_xz = rows.T @ x.to(da.dtype).reshape(len(rows), x.shape[-1]) if needs[2] else None
    return dx, dw_zz, dw_xz, (rows.sum(0) if needs[3] else None)


RULE = Rule(SPEC, (Kernel("plain", forward, backward),), autocast="float32")


def deep_equilibrium(x, w_zz, w_xz, bias=None, *, max_iter=50):
    """The fixed point z (*N H) of z = tanh(z w_zz^T + x w_xz^T + bias) for x (*N I), w_zz (H H),
    w_xz (H I), bias (H); NaN where max_iter steps do not reach it. Maths:
    bpx/layers/deep_equilibrium.py."""
    return RULE(x, w_zz, w_xz, bias, max_iter=max_iter)
