"""layer_norm for torch on a GPU, in Triton. Maths, shapes and source: bpx/layers/layer_norm.py.

A program keeps some rows in registers, so x is read once and y written once. It works in float32
(float64 for float64 x). mu is stored rounded; the shift that this puts on every centred value is
their mean, and is taken off. In backward a program owns every so manieth tile of rows and adds up
dweight and dbias over them in registers; torch adds these partial sums. Rows too wide for that are
read once more, by columns. No atomics: two runs on one device give the same bits.
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
    X, WEIGHT, BIAS, Y, MU, RSTD, N, D,
    EPS: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, BY_HAND: tl.constexpr,
    ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)[None, :]
    inside = d < D
    at = row[:, None] * D + d
    mask = (row < N)[:, None] & inside
    x = tl.load(X + at, mask=mask, other=0).to(ACC)
    mu = tl.reduce(x, 1, add) / D
    xc = tl.where(inside, x - mu[:, None], 0.0)
    xc = tl.where(inside, xc - (tl.reduce(xc, 1, add) / D)[:, None], 0.0)
    square = tl.reduce(xc * xc, 1, add)
    # an infinite sum is NaN from here on, where 1 / inf would make zeros of it
    rstd = tl.where(square == float("inf"), float("nan"), 1 / tl.sqrt(square / D + EPS))
    y = xc * rstd[:, None]
    if HAS_WEIGHT:
        y *= tl.load(WEIGHT + d, mask=inside, other=0).to(ACC)
    if HAS_BIAS:
        y += tl.load(BIAS + d, mask=inside, other=0).to(ACC)
    tl.store(Y + at, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    tl.store(MU + row, mu, mask=row < N)
    tl.store(RSTD + row, rstd, mask=row < N)


@triton.jit
def backward_kernel(
    DY, X, WEIGHT, MU, RSTD, DX, DWEIGHT, DBIAS, SHIFT, N, D,
    HAS_WEIGHT: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_WEIGHT: tl.constexpr,
    NEEDS_BIAS: tl.constexpr, KEEP_SHIFT: tl.constexpr, STAGES: tl.constexpr,
    BY_HAND: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)[None, :]
    inside = d < D
    dweight = tl.full((ROWS, BLOCK), 0, ACC)
    dbias = tl.full((ROWS, BLOCK), 0, ACC)
    if HAS_WEIGHT:
        weight = tl.load(WEIGHT + d, mask=inside, other=0).to(ACC)
    tiles = (N + ROWS - 1) // ROWS
    for tile in tl.range(program, tiles, tl.num_programs(0), num_stages=STAGES):
        row = tile * ROWS + tl.arange(0, ROWS)
        at = row[:, None] * D + d
        mask = (row < N)[:, None] & inside
        dy = tl.load(DY + at, mask=mask, other=0).to(ACC)
        x = tl.load(X + at, mask=mask, other=0).to(ACC)
        mu = tl.load(MU + row, mask=row < N, other=0)[:, None]
        rstd = tl.load(RSTD + row, mask=row < N, other=0)[:, None]
        xhat = tl.where(mask, (x - mu) * rstd, 0.0)
        g = dy
        if HAS_WEIGHT:
            g = dy * weight
        # three sums that do not wait for one another: mean(g (xhat - shift)) in two of them
        shift = tl.reduce(xhat, 1, add) / D
        mean = tl.reduce(g, 1, add) / D
        product = tl.reduce(g * xhat, 1, add) / D - shift * mean
        xhat = tl.where(mask, xhat - shift[:, None], 0.0)
        if NEEDS_X:
            through_mu = mean[:, None]
            through_rstd = xhat * product[:, None]
            dx = rstd * (g - through_mu - through_rstd)
            tl.store(DX + at, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)
        if NEEDS_WEIGHT:
            dweight += dy * xhat
        if NEEDS_BIAS:
            dbias += dy
        if KEEP_SHIFT:
            tl.store(SHIFT + row, shift, mask=row < N)
    at = program * D + tl.arange(0, BLOCK)
    if NEEDS_WEIGHT:
        tl.store(DWEIGHT + at, tl.reduce(dweight, 0, add), mask=tl.arange(0, BLOCK) < D)
    if NEEDS_BIAS:
        tl.store(DBIAS + at, tl.reduce(dbias, 0, add), mask=tl.arange(0, BLOCK) < D)


@triton.jit
def columns_kernel(
    DY, X, MU, RSTD, SHIFT, DWEIGHT, DBIAS, N, D, NEEDS_WEIGHT: tl.constexpr,
    NEEDS_BIAS: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    d = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    owner = tl.program_id(1).to(tl.int64)
    dweight = tl.full((ROWS, BLOCK), 0, ACC)
    dbias = tl.full((ROWS, BLOCK), 0, ACC)
    for tile in range(owner, (N + ROWS - 1) // ROWS, tl.num_programs(1)):
        row = tile * ROWS + tl.arange(0, ROWS)
        at = row[:, None] * D + d[None, :]
        mask = (row < N)[:, None] & (d < D)[None, :]
        dy = tl.load(DY + at, mask=mask, other=0).to(ACC)
        if NEEDS_WEIGHT:
            x = tl.load(X + at, mask=mask, other=0).to(ACC)
            mu = tl.load(MU + row, mask=row < N, other=0)[:, None]
            rstd = tl.load(RSTD + row, mask=row < N, other=0)[:, None]
            shift = tl.load(SHIFT + row, mask=row < N, other=0)[:, None]
            dweight += dy * ((x - mu) * rstd - shift)
        if NEEDS_BIAS:
            dbias += dy
    if NEEDS_WEIGHT:
        tl.store(DWEIGHT + owner * D + d, tl.reduce(dweight, 0, add), mask=d < D)
    if NEEDS_BIAS:
        tl.store(DBIAS + owner * D + d, tl.reduce(dbias, 0, add), mask=d < D)


def refuses(arrays, dims):
    return _rows.refuses(("x", "weight", "bias"), arrays, dims["D"])


def forward(x, weight, bias, *, eps):
    x, weight, bias = (a if a is None else _opaque.readable(a) for a in (x, weight, bias))
    y = torch.empty_like(x)
    mu = x.new_empty((*x.shape[:-1], 1), dtype=statistic(x))
    rstd = torch.empty_like(mu)
    if x.numel():
        known = norm_meta(x, x.shape[-1])
        # eps is a constant of the kernel, since Triton passes numbers in float32
        _launch.run(
            forward_kernel, (triton.cdiv(mu.numel(), known["ROWS"]),), x,
            x, present(weight, x), present(bias, x), y, mu, rstd, mu.numel(), x.shape[-1],
            EPS=float(eps), HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None, **known,
        )  # fmt: skip
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    dy, x = _opaque.readable(dy.to(x.dtype)), _opaque.readable(x)
    mu, rstd = map(_opaque.readable, residuals)
    weight = None if weight is None else _opaque.readable(weight)
    rows, columns = mu.numel(), x.shape[-1]
    known = norm_meta(x, columns)
    by_columns = wide(columns) and (needs[1] or needs[2])
    owners = min(triton.cdiv(rows, known["ROWS"]), programs(x))
    grid, tiles = columns_grid(x, rows, columns) if by_columns else ((owners,), {})
    dx = torch.empty_like(x) if needs[0] else None
    partial = [mu.new_empty((grid[-1], columns)) if need else None for need in needs[1:]]
    places = [present(p, mu) for p in partial]
    shift = torch.empty_like(mu) if by_columns else mu
    if rows and (needs[0] or not by_columns or needs[1]):
        _launch.run(
            backward_kernel, (owners,), x,
            dy, x, present(weight, x), mu, rstd, present(dx, x), *places, shift, rows, columns,
            HAS_WEIGHT=weight is not None, NEEDS_X=needs[0], KEEP_SHIFT=by_columns,
            NEEDS_WEIGHT=needs[1] and not by_columns, NEEDS_BIAS=needs[2] and not by_columns,
            STAGES=stages(x, columns), **known,
        )  # fmt: skip
    if rows and by_columns:
        _launch.run(
            columns_kernel, grid, x, dy, x, mu, rstd, shift, *places, rows, columns,
            NEEDS_WEIGHT=needs[1], NEEDS_BIAS=needs[2], ACC=known["ACC"], **tiles,
        )  # fmt: skip
    return (dx, *(None if p is None else p.sum(0) for p in partial))
