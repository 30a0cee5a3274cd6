"""gated_linear for PyTorch. Maths, shapes and source: bpx/fused/gated_linear.py."""

import torch

from bpx.fused.gated_linear import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32, one_dtype
from bpx_torch._rule import Rule
from bpx_torch.activations.gated import GEGLU, GLU, REGLU, SWIGLU
from bpx_torch.layers.linear import rows

UNITS = {
    "sigmoid": (GLU, {}),
    "silu": (SWIGLU, {}),
    "gelu": (GEGLU, {"approximate": "none"}),
    "gelu_tanh": (GEGLU, {"approximate": "tanh"}),
    "relu": (REGLU, {}),
}


def forward(x, gate, weight, bias, *, activation):
    one_dtype("gated_linear", x, gate=gate, weight=weight, bias=bias)
    unit, options = UNITS[activation]
    h = unit.plain.forward(x, gate, **options)[0]
    return torch.nn.functional.linear(h, weight, bias), ()


def backward(dy, arrays, residuals, needs, *, activation):
    # With h = x f(gate), computed again:
    #   dweight = dy^T h,  dbias = sum(dy), both over the rows
    #   dh = dy weight,  dx = dh f(gate),  dgate = dh x f'(gate)
    x, gate, weight, _ = arrays
    unit, options = UNITS[activation]
    dx = dgate = dweight = None
    if needs[2]:
        h = unit.plain.forward(x, gate, **options)[0]
        dweight = rows(dy).T @ rows(h)
    if needs[0] or needs[1]:
        dh = dy @ weight
        dx, dgate = unit.plain.backward(dh, (x, gate), (), needs[:2], **options)
    dbias = at_least_float32(rows(dy)).sum(0) if needs[3] else None
    return dx, dgate, dweight, dbias


def tangent(tangents, arrays, residuals, *, activation):
    # dy = dh weight^T + h dweight^T + dbias,  dh = dx f(gate) + x f'(gate) dgate
    x, gate, weight, _ = arrays
    tx, tgate, tweight, tbias = tangents
    unit, options = UNITS[activation]
    dy = x.new_zeros((*x.shape[:-1], weight.shape[0]))
    if tx is not None or tgate is not None:
        dy = dy + unit.plain.tangent((tx, tgate), (x, gate), (), **options) @ weight.T
    if tweight is not None:
        dy = dy + unit.plain.forward(x, gate, **options)[0] @ tweight.T
    return dy if tbias is None else dy + tbias


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.gated_linear"),
        Kernel.lazy("triton", "bpx_torch.kernels.triton.gated_linear"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast="lower",
)


def gated_linear(x, gate, weight, bias=None, *, activation="silu"):
    """(x f(gate)) weight^T + bias; x and gate (*N I), weight (O I), bias (O). The product is not
    kept for backward. Maths: bpx/fused/gated_linear.py."""
    return RULE(x, gate, weight, bias, activation=activation)
