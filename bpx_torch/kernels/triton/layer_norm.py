"""layer_norm for torch on a GPU, in Triton. Maths, shapes and source: bpx/layers/layer_norm.py.

A program keeps a row in registers, so x is read once and y written once. It works in float32
(float64 for float64 x). mu is stored rounded; the shift that this puts on every centred value is
their mean, and is taken off. In backward program p owns the rows p, p + programs, ... and adds up
dweight and dbias over them in registers; torch adds these partial sums. No atomics: two runs on one
device give the same bits.
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
    X, WEIGHT, BIAS, Y, MU, RSTD, D,
    EPS: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, BY_HAND: tl.constexpr,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    x = tl.load(X + row * D + d, mask=mask, other=0).to(ACC)
    mu = tl.reduce(x, 0, add) / D
    xc = tl.where(mask, x - mu, 0)
    xc = tl.where(mask, xc - tl.reduce(xc, 0, add) / D, 0)
    square = tl.reduce(xc * xc, 0, add)
    # an infinite sum is NaN from here on, where 1 / inf would make zeros of it
    rstd = tl.where(square == float("inf"), float("nan"), 1 / tl.sqrt(square / D + EPS))
    y = xc * rstd
    if HAS_WEIGHT:
        y *= tl.load(WEIGHT + d, mask=mask, other=0).to(ACC)
    if HAS_BIAS:
        y += tl.load(BIAS + d, mask=mask, other=0).to(ACC)
    tl.store(Y + row * D + d, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    tl.store(MU + row, mu)
    tl.store(RSTD + row, rstd)


@triton.jit
def backward_kernel(
    DY, X, WEIGHT, MU, RSTD, DX, DWEIGHT, DBIAS, N, D,
    HAS_WEIGHT: tl.constexpr, NEEDS_X: tl.constexpr, NEEDS_WEIGHT: tl.constexpr,
    NEEDS_BIAS: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    mask = d < D
    dweight = tl.full((BLOCK,), 0, ACC)
    dbias = tl.full((BLOCK,), 0, ACC)
    if HAS_WEIGHT:
        weight = tl.load(WEIGHT + d, mask=mask, other=0).to(ACC)
    for row in range(program, N, tl.num_programs(0)):
        dy = tl.load(DY + row * D + d, mask=mask, other=0).to(ACC)
        x = tl.load(X + row * D + d, mask=mask, other=0).to(ACC)
        rstd = tl.load(RSTD + row)
        xhat = tl.where(mask, (x - tl.load(MU + row)) * rstd, 0)
        xhat = tl.where(mask, xhat - tl.reduce(xhat, 0, add) / D, 0)
        if NEEDS_X:
            g = dy
            if HAS_WEIGHT:
                g = dy * weight
            through_mu = tl.reduce(g, 0, add) / D
            through_rstd = xhat * (tl.reduce(g * xhat, 0, add) / D)
            dx = rstd * (g - through_mu - through_rstd)
            tl.store(DX + row * D + d, rounded(dx, BY_HAND).to(DX.dtype.element_ty), mask=mask)
        dweight += dy * xhat
        dbias += dy
    if NEEDS_WEIGHT:
        tl.store(DWEIGHT + program * D + d, dweight, mask=mask)
    if NEEDS_BIAS:
        tl.store(DBIAS + program * D + d, dbias, mask=mask)


def refuses(arrays, dims):
    return _rows.refuses(("x", "weight", "bias"), arrays, dims["D"])


def forward(x, weight, bias, *, eps):
    x, weight, bias = (a if a is None else _opaque.readable(a) for a in (x, weight, bias))
    y = torch.empty_like(x)
    mu = x.new_empty((*x.shape[:-1], 1), dtype=statistic(x))
    rstd = torch.empty_like(mu)
    if x.numel():
        # eps is a constant of the kernel, since Triton passes numbers in float32
        _launch.run(
            forward_kernel, (mu.numel(),), x,
            x, present(weight, x), present(bias, x), y, mu, rstd, x.shape[-1], EPS=float(eps),
            HAS_WEIGHT=weight is not None, HAS_BIAS=bias is not None, **meta(x, x.shape[-1]),
        )  # fmt: skip
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    dy, x = _opaque.readable(dy.to(x.dtype)), _opaque.readable(x)
    mu, rstd = map(_opaque.readable, residuals)
    weight = None if weight is None else _opaque.readable(weight)
    rows, columns = mu.numel(), x.shape[-1]
    owners = min(rows, programs(x))
    dx = torch.empty_like(x) if needs[0] else None
    partial = [mu.new_empty((owners, columns)) if need else None for need in needs[1:]]
    if rows:
        _launch.run(
            backward_kernel, (owners,), x,
            dy, x, present(weight, x), mu, rstd, present(dx, x), *(present(p, mu) for p in partial),
            rows, columns, HAS_WEIGHT=weight is not None, NEEDS_X=needs[0],
            NEEDS_WEIGHT=needs[1], NEEDS_BIAS=needs[2], **meta(x, x.shape[-1]),
        )  # fmt: skip
    return (dx, *(None if p is None else p.sum(0) for p in partial))
