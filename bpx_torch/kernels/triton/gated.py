"""Gated linear units for torch on a GPU, in Triton: each array is read or written once.

Maths, choices and source: bpx/activations/gated.py; the formulas are those of the activations.
"""

import torch
import triton
import triton.language as tl

from bpx.rule import Kernel
from bpx_torch.kernels.triton import GATED, _launch
from bpx_torch.kernels.triton._rows import present, rounded
from bpx_torch.kernels.triton.elementwise import formula, grid, in_one_order, meta, refuses

UNITS = {
    "glu": "sigmoid",
    "swiglu": "silu",
    "geglu": "gelu",
    "geglu_tanh": "gelu_tanh",
    "reglu": "relu",  # whose derivative looks at the sign alone
}


@triton.jit
def forward_kernel(
    X, GATE, Y, N, F: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    x = tl.load(X + i, mask=mask, other=0).to(ACC)
    gate = tl.load(GATE + i, mask=mask, other=0).to(ACC)
    y = x * F(gate, 0.0, 0.0)
    tl.store(Y + i, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    DY, X, GATE, DX, DGATE, N, F: tl.constexpr, DF: tl.constexpr, NEEDS_X: tl.constexpr,
    NEEDS_GATE: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # dx = dy f(gate),  dgate = dy f'(gate) x, which overflows only where the product does
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    dy = tl.load(DY + i, mask=mask, other=0).to(ACC)
    gate = tl.load(GATE + i, mask=mask, other=0).to(ACC)
    if NEEDS_X:
        dx = dy * F(gate, 0.0, 0.0)
        tl.store(DX + i, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)
    if NEEDS_GATE:
        dgate = DF(dy, gate, 0.0, 0.0) * tl.load(X + i, mask=mask, other=0).to(ACC)
        tl.store(DGATE + i, rounded(dgate, BY_HAND).to(DGATE.dtype.element_ty), mask=mask)


def _kernel(entry):
    def unit(options, dtype):
        name = UNITS["_".join([entry, *(v for v in options.values() if v == "tanh")])]
        return formula(name, dtype), formula(f"d{name}", dtype)

    def forward(x, gate, **options):
        x, gate = in_one_order(x, gate.to(x.dtype))
        y = torch.empty_like(x)
        f, _ = unit(options, x.dtype)
        _launch.run(forward_kernel, grid(x), x, x, gate, y, x.numel(), F=f, **meta(x))
        return y, ()

    def backward(dy, arrays, residuals, needs, **options):
        dtype = arrays[0].dtype
        dy, x, gate = in_one_order(*(a.to(dtype) for a in (dy, *arrays)))
        dx, dgate = (torch.empty_like(x) if need else None for need in needs)
        f, df = unit(options, dtype)
        _launch.run(
            backward_kernel, grid(x), x,
            dy, x, gate, present(dx, x), present(dgate, x), x.numel(), F=f, DF=df,
            NEEDS_X=needs[0], NEEDS_GATE=needs[1], **meta(x),
        )  # fmt: skip
        return dx, dgate

    return Kernel("triton", forward, backward, refuses=refuses)


KERNELS = {entry: _kernel(entry) for entry in GATED}
