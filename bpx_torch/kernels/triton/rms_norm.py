"""rms_norm for torch on a GPU, in Triton. Maths, shapes and source: bpx/layers/rms_norm.py.

A program keeps a row in registers, in float32 (float64 for float64 x), so x is read once and y
written once. In backward program p owns the rows p, p + programs, ... and adds up dweight over them
in registers; torch adds these partial sums. No atomics: two runs give the same bits.
"""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch, _rows
from bpx_torch.kernels.triton._launch import add
from bpx_torch.kernels.triton._rows import meta, present, programs, rounded, statistic


@triton.jit
def forward_kernel(
    X, WEIGHT, Y, RSTD, D,
    EPS: tl.constexpr, HAS_WEIGHT: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    x = tl.load(X + row * D + d, mask=mask, other=0).to(ACC)
    square = tl.reduce(x * x, 0, add)
    # an infinite sum is NaN from here on, where 1 / inf would make zeros of it
    rstd = tl.where(square == float("inf"), float("nan"), 1 / tl.sqrt(square / D + EPS))
    y = x * rstd
    if HAS_WEIGHT:
        y *= tl.load(WEIGHT + d, mask=mask, other=0).to(ACC)
    tl.store(Y + row * D + d, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    tl.store(RSTD + row, rstd)


@triton.jit
def backward_kernel(
    DY, X, WEIGHT, RSTD, DX, DWEIGHT, N, D,
    HAS_WEIGHT: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_WEIGHT: tl.constexpr,
    BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    dweight = tl.full((BLOCK,), 0, ACC)
    if HAS_WEIGHT:
        weight = tl.load(WEIGHT + d, mask=mask, other=0).to(ACC)
    for row in range(program, N, tl.num_programs(0)):
        dy = tl.load(DY + row * D + d, mask=mask, other=0).to(ACC)
        rstd = tl.load(RSTD + row)
        xhat = tl.load(X + row * D + d, mask=mask, other=0).to(ACC) * rstd
        if NEEDS_X:
            g = dy
            if HAS_WEIGHT:
                g = dy * weight
            through_rstd = xhat * (tl.reduce(g * xhat, 0, add) / D)
            dx = rstd * (g - through_rstd)
            tl.store(DX + row * D + d, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)
        dweight += dy * xhat
    if NEEDS_WEIGHT:
        tl.store(DWEIGHT + program * D + d, dweight, mask=mask)


def refuses(arrays, dims):
    return _rows.refuses(("x", "weight"), arrays, dims["D"])


def forward(x, weight, *, eps):
    x, weight = (a if a is None else _opaque.readable(a) for a in (x, weight))
    y = torch.empty_like(x)
    rstd = x.new_empty((*x.shape[:-1], 1), dtype=statistic(x))
    if x.numel():
        # eps is a constant of the kernel, since Triton passes numbers in float32
        _launch.run(
            forward_kernel, (rstd.numel(),), x,
            x, present(weight, x), y, rstd, x.shape[-1], EPS=float(eps),
            HAS_WEIGHT=weight is not None, **meta(x, x.shape[-1]),
        )  # fmt: skip
    return y, (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight = arrays
    dy, x, rstd = (_opaque.readable(a) for a in (dy.to(x.dtype), x, *residuals))
    weight = None if weight is None else _opaque.readable(weight)
    rows, columns = rstd.numel(), x.shape[-1]
    owners = min(rows, programs(x))
    dx = torch.empty_like(x) if needs[0] else None
    partial = rstd.new_empty((owners, columns)) if needs[1] else None
    if rows:
        _launch.run(
            backward_kernel, (owners,), x,
            dy, x, present(weight, x), rstd, present(dx, x), present(partial, rstd), rows, columns,
            HAS_WEIGHT=weight is not None, NEEDS_X=needs[0], NEEDS_WEIGHT=needs[1],
            **meta(x, columns),
        )  # fmt: skip
    return dx, None if partial is None else partial.sum(0)
