"""rms_norm for torch on a GPU, in Triton. Maths, shapes and source: bpx/layers/rms_norm.py.

A program keeps some rows in registers, in float32 (float64 for float64 x), so x is read once and y
written once. In backward a program owns every so manieth tile of rows and adds up dweight over them
in registers; torch adds these partial sums. Rows too wide for that are read once more, by columns.
No atomics: two runs give the same bits.
"""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch, _rows
from bpx_torch.kernels.triton._launch import add
from bpx_torch.kernels.triton._rows import (
    columns_grid,
    norm_meta,
    present,
    programs,
    rounded,
    stages,
    statistic,
    wide,
)


@triton.jit
def forward_kernel(
    X, WEIGHT, Y, RSTD, N, D,
    EPS: tl.constexpr, HAS_WEIGHT: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)[None, :]
    at = row[:, None] * D + d
    mask = (row < N)[:, None] & (d < D)
    x = tl.load(X + at, mask=mask, other=0).to(ACC)
    square = tl.reduce(x * x, 1, add)
    # an infinite sum is NaN from here on, where 1 / inf would make zeros of it
    rstd = tl.where(square == float("inf"), float("nan"), 1 / tl.sqrt(square / D + EPS))
    y = x * rstd[:, None]
    if HAS_WEIGHT:
        y *= tl.load(WEIGHT + d, mask=d < D, other=0).to(ACC)
    tl.store(Y + at, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    tl.store(RSTD + row, rstd, mask=row < N)


@triton.jit
def backward_kernel(
    DY, X, WEIGHT, RSTD, DX, DWEIGHT, N, D,
    HAS_WEIGHT: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_WEIGHT: tl.constexpr,
    STAGES: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)[None, :]
    dweight = tl.full((ROWS, BLOCK), 0, ACC)
    if HAS_WEIGHT:
        weight = tl.load(WEIGHT + d, mask=d < D, other=0).to(ACC)
    tiles = (N + ROWS - 1) // ROWS
    for tile in tl.range(program, tiles, tl.num_programs(0), num_stages=STAGES):
        row = tile * ROWS + tl.arange(0, ROWS)
        at = row[:, None] * D + d
        mask = (row < N)[:, None] & (d < D)
        dy = tl.load(DY + at, mask=mask, other=0).to(ACC)
        rstd = tl.load(RSTD + row, mask=row < N, other=0)[:, None]
        xhat = tl.load(X + at, mask=mask, other=0).to(ACC) * rstd
        if NEEDS_X:
            g = dy
            if HAS_WEIGHT:
                g = dy * weight
            through_rstd = xhat * (tl.reduce(g * xhat, 1, add) / D)[:, None]
            dx = rstd * (g - through_rstd)
            tl.store(DX + at, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)
        if NEEDS_WEIGHT:
            dweight += dy * xhat
    if NEEDS_WEIGHT:
        at = program * D + tl.arange(0, BLOCK)
        tl.store(DWEIGHT + at, tl.reduce(dweight, 0, add), mask=tl.arange(0, BLOCK) < D)


@triton.jit
def columns_kernel(
    DY, X, RSTD, DWEIGHT, N, D, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    d = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    owner = tl.program_id(1).to(tl.int64)
    dweight = tl.full((ROWS, BLOCK), 0, ACC)
    for tile in range(owner, (N + ROWS - 1) // ROWS, tl.num_programs(1)):
        row = tile * ROWS + tl.arange(0, ROWS)
        at = row[:, None] * D + d[None, :]
        mask = (row < N)[:, None] & (d < D)[None, :]
        dy = tl.load(DY + at, mask=mask, other=0).to(ACC)
        x = tl.load(X + at, mask=mask, other=0).to(ACC)
        dweight += dy * (x * tl.load(RSTD + row, mask=row < N, other=0)[:, None])
    tl.store(DWEIGHT + owner * D + d, tl.reduce(dweight, 0, add), mask=d < D)


def refuses(arrays, dims):
    return _rows.refuses(("x", "weight"), arrays, dims["D"])


def forward(x, weight, *, eps):
    x, weight = (a if a is None else _opaque.readable(a) for a in (x, weight))
    y = torch.empty_like(x)
    rstd = x.new_empty((*x.shape[:-1], 1), dtype=statistic(x))
    if x.numel():
        known = norm_meta(x, x.shape[-1])
        # eps is a constant of the kernel, since Triton passes numbers in float32
        _launch.run(
            forward_kernel, (triton.cdiv(rstd.numel(), known["ROWS"]),), x,
            x, present(weight, x), y, rstd, rstd.numel(), x.shape[-1], EPS=float(eps),
            HAS_WEIGHT=weight is not None, **known,
        )  # fmt: skip
    return y, (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight = arrays
    dy, x, rstd = (_opaque.readable(a) for a in (dy.to(x.dtype), x, *residuals))
    weight = None if weight is None else _opaque.readable(weight)
    rows, columns = rstd.numel(), x.shape[-1]
    known = norm_meta(x, columns)
    by_columns = wide(columns) and needs[1]
    owners = min(triton.cdiv(rows, known["ROWS"]), programs(x))
    grid, tiles = columns_grid(x, rows, columns) if by_columns else ((owners,), {})
    dx = torch.empty_like(x) if needs[0] else None
    partial = rstd.new_empty((grid[-1], columns)) if needs[1] else None
    if rows and (needs[0] or not by_columns):
        _launch.run(
            backward_kernel, (owners,), x,
            dy, x, present(weight, x), rstd, present(dx, x), present(partial, rstd), rows, columns,
            HAS_WEIGHT=weight is not None, NEEDS_X=needs[0],
            NEEDS_WEIGHT=needs[1] and not by_columns, STAGES=stages(x, columns), **known,
        )  # fmt: skip
    if rows and by_columns:
        _launch.run(
            columns_kernel, grid, x, dy, x, rstd, partial, rows, columns, ACC=known["ACC"], **tiles
        )
    return dx, None if partial is None else partial.sum(0)
