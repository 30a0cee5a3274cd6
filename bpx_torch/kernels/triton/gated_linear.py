"""gated_linear for torch on a GPU: torch's products, and the unit in Triton, in one pass each way.
Maths, shapes and source: bpx/fused/gated_linear.py."""

import torch
import triton
import triton.language as tl

from bpx_torch._dtype import at_least_float32, one_dtype
from bpx_torch.kernels.triton import _launch, elementwise, gated
from bpx_torch.kernels.triton._rows import present, refuses_double, rounded
from bpx_torch.kernels.triton.elementwise import formula, grid, in_one_order, meta

UNITS = {
    "sigmoid": ("glu", {}),
    "silu": ("swiglu", {}),
    "gelu": ("geglu", {"approximate": "none"}),
    "gelu_tanh": ("geglu", {"approximate": "tanh"}),
    "relu": ("reglu", {}),
}


@triton.jit
def backward_kernel(
    DH, X, GATE, H, DX, DGATE, N, F: tl.constexpr, DF: tl.constexpr, NEEDS_H: tl.constexpr,
    NEEDS_UNIT: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # h = x f(gate) again,  dx = dh f(gate),  dgate = dh f'(gate) x
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    x = tl.load(X + i, mask=mask, other=0).to(ACC)
    gate = tl.load(GATE + i, mask=mask, other=0).to(ACC)
    f = F(gate, 0.0, 0.0)
    if NEEDS_H:
        tl.store(H + i, rounded(x * f, BY_HAND).to(H.dtype.element_ty), mask=mask)
    if NEEDS_UNIT:
        dh = tl.load(DH + i, mask=mask, other=0).to(ACC)
        tl.store(DX + i, rounded(dh * f, BY_HAND).to(DX.dtype.element_ty), mask=mask)
        dgate = DF(dh, gate, 0.0, 0.0) * x
        tl.store(DGATE + i, rounded(dgate, BY_HAND).to(DGATE.dtype.element_ty), mask=mask)


def refuses(arrays, dims):
    return refuses_double("x", arrays[0]) or elementwise.refuses(arrays, dims)


def forward(x, gate, weight, bias, *, activation):
    one_dtype("gated_linear", x, gate=gate, weight=weight, bias=bias)
    unit, options = UNITS[activation]
    h, _ = gated.KERNELS[unit].forward(x, gate, **options)
    return torch.nn.functional.linear(h, weight, bias), ()


def backward(dy, arrays, residuals, needs, *, activation):
    # dweight = dy^T h,  dbias = sum(dy), both over the rows;  dh = dy weight
    x, gate, weight, _ = arrays
    rows, unit = dy.reshape(-1, dy.shape[-1]), needs[0] or needs[1]
    h = dx = dgate = dweight = dbias = None
    if unit or needs[2]:
        given = (dy @ weight, x, gate) if unit else (x, gate)
        *dh, x, gate = in_one_order(*given)
        h = torch.empty_like(x) if needs[2] else None
        dx, dgate = (torch.empty_like(x) if unit else None for _ in range(2))
        _launch.run(
            backward_kernel, grid(x), x,
            *(dh or [x]), x, gate, *(present(a, x) for a in (h, dx, dgate)), x.numel(),
            F=formula(activation, x.dtype), DF=formula(f"d{activation}", x.dtype),
            NEEDS_H=needs[2], NEEDS_UNIT=unit, **meta(x),
        )  # fmt: skip
    if needs[2]:
        dweight = rows.T @ h.reshape(-1, h.shape[-1])
    if needs[3]:
        dbias = at_least_float32(rows).sum(0)
    return dx if needs[0] else None, dgate if needs[1] else None, dweight, dbias
