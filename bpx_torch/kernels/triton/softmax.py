"""softmax for torch on a GPU, in Triton, and log_softmax beside it. Maths, shapes and sources:
bpx/layers/softmax.py, bpx/layers/log_softmax.py.

A program keeps some rows in registers, in float32 (float64 for float64 x), so x is read once and y
written once; backward reads dy and y. A row too long for that is walked over twice each way, BLOCK
elements at a time. Another axis than the last is brought there first.
"""

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import meta, refuses_types, rounded, wide

BLOCK = 4096  # of a long row


@triton.jit
def forward_kernel(
    X, Y, N, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)[None, :]
    at = row[:, None] * D + d
    mask = (row < N)[:, None] & (d < D)
    x = tl.load(X + at, mask=mask, other=-float("inf")).to(ACC)
    shifted = x - tl.reduce(x, 1, larger)[:, None]
    e = tl.where(mask, libdevice.exp(shifted), 0.0)
    total = tl.reduce(e, 1, add)[:, None]
    if LOGARITHM:
        y = shifted - libdevice.log(total)
    else:
        y = e / total
    tl.store(Y + at, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def backward_kernel(
    DY, Y, DX, N, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)[None, :]
    at = row[:, None] * D + d
    mask = (row < N)[:, None] & (d < D)
    dy = tl.load(DY + at, mask=mask, other=0).to(ACC)
    y = tl.load(Y + at, mask=mask, other=0).to(ACC)
    if LOGARITHM:
        dx = dy - libdevice.exp(y) * tl.reduce(dy, 1, add)[:, None]
    else:
        dx = y * (dy - tl.reduce(dy * y, 1, add)[:, None])
    tl.store(DX + at, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)


@triton.jit
def long_forward_kernel(
    X, Y, N, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * D
    top = tl.full((), -float("inf"), ACC)
    total = tl.full((), 0, ACC)
    for start in range(0, D, BLOCK):
        d = start + tl.arange(0, BLOCK)
        x = tl.load(X + row + d, mask=d < D, other=-float("inf")).to(ACC)
        higher = tl.maximum(top, tl.reduce(x, 0, larger))
        shift = tl.where(higher == -float("inf"), 0.0, higher)  # of nothing but -inf so far
        total = total * libdevice.exp(top - shift) + tl.reduce(libdevice.exp(x - shift), 0, add)
        top = higher
    for start in range(0, D, BLOCK):
        d = start + tl.arange(0, BLOCK)
        shifted = tl.load(X + row + d, mask=d < D, other=0).to(ACC) - top
        if LOGARITHM:
            y = shifted - libdevice.log(total)
        else:
            y = libdevice.exp(shifted) / total
        tl.store(Y + row + d, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=d < D)


@triton.jit
def long_backward_kernel(
    DY, Y, DX, N, D, LOGARITHM: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * D
    total = tl.full((), 0, ACC)
    for start in range(0, D, BLOCK):
        d = start + tl.arange(0, BLOCK)
        part = tl.load(DY + row + d, mask=d < D, other=0).to(ACC)
        if not LOGARITHM:
            part *= tl.load(Y + row + d, mask=d < D, other=0).to(ACC)
        total += tl.reduce(part, 0, add)
    for start in range(0, D, BLOCK):
        d = start + tl.arange(0, BLOCK)
        dy = tl.load(DY + row + d, mask=d < D, other=0).to(ACC)
        y = tl.load(Y + row + d, mask=d < D, other=0).to(ACC)
        if LOGARITHM:
            dx = dy - libdevice.exp(y) * total
        else:
            dx = y * (dy - total)
        tl.store(DX + row + d, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=d < D)


def refuses(arrays, dims):
    (x,) = arrays
    if (reason := _launch.refuses(arrays) or refuses_types(("x",), arrays)) is not None:
        return reason
    return "x has no elements" if x.numel() == 0 else None


def _run(kernels, arrays, dim, logarithm):
    """The last array is the result: like the first, `dim` at the end in memory."""
    rows = [_opaque.readable(a.movedim(dim, -1)) for a in arrays]
    made = torch.empty_like(rows[0])
    columns = made.shape[-1]
    count, known = made.numel() // columns, meta(made, columns)
    short, long = kernels
    kernel, tiles = short, triton.cdiv(count, known["ROWS"])
    if wide(columns):
        kernel, tiles = long, count
        known = {"BY_HAND": known["BY_HAND"], "ACC": known["ACC"], "BLOCK": BLOCK, "num_warps": 8}
    _launch.run(kernel, (tiles,), made, *rows, made, count, columns, LOGARITHM=logarithm, **known)
    return made.movedim(-1, dim)


def forward(x, *, dim, logarithm=False):
    y = _run((forward_kernel, long_forward_kernel), (x,), dim, logarithm)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim, logarithm=False):
    (y,) = residuals
    kernels = backward_kernel, long_backward_kernel
    return (_run(kernels, (dy.to(y.dtype), y), dim, logarithm),)
