"""softmax for torch on a GPU, in Triton, and log_softmax beside it. Maths, shapes and sources:
bpx/layers/softmax.py, bpx/layers/log_softmax.py.

A program keeps a row in registers, in float32 (float64 for float64 x), so x is read once and y
written once; backward reads dy and y. Another axis than the last is brought there first.
"""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch, _rows
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import meta, rounded


@triton.jit
def forward_kernel(
    X, Y, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    x = tl.load(X + row * D + d, mask=mask, other=-float("inf")).to(ACC)
    shifted = x - tl.reduce(x, 0, larger)
    e = tl.exp(shifted)
    total = tl.reduce(tl.where(mask, e, 0), 0, add)
    if LOGARITHM:
        y = shifted - tl.log(total)
    else:
        y = e / total
    tl.store(Y + row * D + d, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    DY, Y, DX, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    dy = tl.load(DY + row * D + d, mask=mask, other=0).to(ACC)
    y = tl.load(Y + row * D + d, mask=mask, other=0).to(ACC)
    if LOGARITHM:
        dx = dy - tl.exp(y) * tl.reduce(dy, 0, add)
    else:
        dx = y * (dy - tl.reduce(dy * y, 0, add))
    tl.store(DX + row * D + d, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)


def refuses(arrays, dims):
    (x,) = arrays
    longest = max(x.shape, default=0)  # which axis it will be is an option
    return _rows.refuses(("x",), arrays, longest) or _empty(x)


def _empty(x):
    return "x has no elements" if x.numel() == 0 else None


def _run(kernel, arrays, dim, logarithm):
    """The last array is the result: like the first, `dim` at the end in memory."""
    rows = [_opaque.readable(a.movedim(dim, -1)) for a in arrays]
    made = torch.empty_like(rows[0])
    columns = made.shape[-1]
    _launch.run(
        kernel, (made.numel() // columns,), made,
        *rows, made, columns, LOGARITHM=logarithm, **meta(made, columns),
    )  # fmt: skip
    return made.movedim(-1, dim)


def forward(x, *, dim, logarithm=False):
    y = _run(forward_kernel, (x,), dim, logarithm)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim, logarithm=False):
    (y,) = residuals
    return (_run(backward_kernel, (dy.to(y.dtype), y), dim, logarithm),)
