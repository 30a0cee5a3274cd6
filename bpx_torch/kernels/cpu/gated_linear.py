"""gated_linear for torch on the CPU: the unit by the native core, forward and again in backward.
Maths, shapes and source: bpx/fused/gated_linear.py."""

from types import SimpleNamespace

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu.gated import kernel


def _unit(name, **options):
    return kernel(SimpleNamespace(name=name)), options


UNITS = {
    "sigmoid": _unit("glu"),
    "silu": _unit("swiglu"),
    "gelu": _unit("geglu", approximate="none"),
    "gelu_tanh": _unit("geglu", approximate="tanh"),
    "relu": _unit("reglu"),
}


def refuses(arrays, dims):
    return _call.refuses(arrays[:2])


def forward(x, gate, weight, bias, *, activation):
    unit, options = UNITS[activation]
    h, _ = unit.forward(x, gate, **options)
    return torch.nn.functional.linear(h, weight, bias), ()


def backward(dy, arrays, residuals, needs, *, activation):
    # With h = x f(gate), computed again:
    #   dweight = dy^T h,  dbias = sum(dy), both over the rows
    #   dh = dy weight,  dx = dh f(gate),  dgate = dh x f'(gate)
    x, gate, weight, _ = arrays
    unit, options = UNITS[activation]
    dx = dgate = dweight = dbias = None
    rows = dy.reshape(-1, dy.shape[-1])
    if needs[2]:
        h, _ = unit.forward(x, gate, **options)
        dweight = rows.T @ h.reshape(-1, h.shape[-1])
    if needs[0] or needs[1]:
        dx, dgate = unit.backward(dy @ weight, (x, gate), (), needs[:2], **options)
    if needs[3]:
        dbias = rows.sum(0, dtype=_call.arithmetic(rows.dtype))
    return dx, dgate, dweight, dbias
