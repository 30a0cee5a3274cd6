"""Sums along lines of an array, and one pass over its elements with what has been made of them, in
Triton: the kernels of _standardize.py, which says what lines and sets are."""

import triton
import triton.language as tl

from bpx_torch.kernels.triton._launch import add
from bpx_torch.kernels.triton._rows import rounded


@triton.jit
def place(X, line, p, L, S, BY_ROWS: tl.constexpr):
    """Where the places p of the lines are."""
    if BY_ROWS:
        return X + p[None, :].to(tl.int64) * L + line[:, None]
    return X + line[:, None] * S + p[None, :]


@triton.jit
def set_of(line, C, SETS, EACH):
    """The set that a line belongs to: EACH channels have one; SETS of them in a sample, 0 where
    samples share them."""
    return line // C * SETS + line % C // EACH


@triton.jit
def moments_kernel(
    X, TOTAL, SQUARE, L, S, CHUNK, BY_ROWS: tl.constexpr, ACC: tl.constexpr, LINES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The sum of a part of a line, and of the squares about its own mean (Welford 1962, in every
    lane; Chan, Golub, LeVeque 1983, equation 2.1, across them): x is read once, and a large mean
    costs no digits."""
    line = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    part = tl.program_id(1)
    first = part * CHUNK
    last = tl.minimum(first + CHUNK, S)
    total = tl.full((LINES, BLOCK), 0, ACC)
    mean = tl.full((LINES, BLOCK), 0, ACC)
    square = tl.full((LINES, BLOCK), 0, ACC)
    count = tl.full((), 0, ACC)
    for start in range(first, last, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = (line < L)[:, None] & (p < last)[None, :]
        x = tl.load(place(X, line, p, L, S, BY_ROWS), mask=mask, other=0).to(ACC)
        count += 1
        total += x
        away = tl.where(mask, x - mean, 0.0)
        mean += away / count
        square += away * (x - mean)
    many = (last - first - tl.arange(0, BLOCK) + BLOCK - 1) // BLOCK  # values that a lane has met
    whole = tl.reduce(total, 1, add)
    off = tl.where((many > 0)[None, :], mean - (whole / (last - first))[:, None], 0.0)
    found = tl.reduce(square + many[None, :].to(ACC) * off * off, 1, add)
    at = line * tl.num_programs(1) + part
    tl.store(TOTAL + at, whole, mask=line < L)
    tl.store(SQUARE + at, found, mask=line < L)


@triton.jit
def sums_kernel(
    DY, X, MEAN, RSTD, ABOUT, ALONG, L, S, CHUNK, C, SETS, EACH, BY_ROWS: tl.constexpr,
    ACC: tl.constexpr, LINES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """sum(dy) and sum(dy xhat) of a part of a line."""
    line = tl.program_id(0).to(tl.int64) * LINES + tl.arange(0, LINES)
    part = tl.program_id(1)
    first = part * CHUNK
    last = tl.minimum(first + CHUNK, S)
    mine = set_of(line, C, SETS, EACH)
    mean = tl.load(MEAN + mine, mask=line < L, other=0)[:, None]
    rstd = tl.load(RSTD + mine, mask=line < L, other=0)[:, None]
    about = tl.full((LINES, BLOCK), 0, ACC)
    along = tl.full((LINES, BLOCK), 0, ACC)
    for start in range(first, last, BLOCK):
        p = start + tl.arange(0, BLOCK)
        mask = (line < L)[:, None] & (p < last)[None, :]
        dy = tl.load(place(DY, line, p, L, S, BY_ROWS), mask=mask, other=0).to(ACC)
        x = tl.load(place(X, line, p, L, S, BY_ROWS), mask=mask, other=0).to(ACC)
        about += dy
        along += dy * ((x - mean) * rstd)
    at = line * tl.num_programs(1) + part
    tl.store(ABOUT + at, tl.reduce(about, 1, add), mask=line < L)
    tl.store(ALONG + at, tl.reduce(along, 1, add), mask=line < L)


@triton.jit
def entries(s, start, INNER, STRIDE, MANY, BLOCK: tl.constexpr):
    """(number, place, whether there are so many) of a set's sums of parts from `start` on: INNER of
    them lie side by side, then come those of the next sample."""
    e = start + tl.arange(0, BLOCK)
    return e, s * INNER + e // INNER * STRIDE + e % INNER, e < MANY


@triton.jit
def joined_kernel(
    TOTAL, SQUARE, MEAN, RSTD, VAR, INNER, STRIDE, MANY, PARTS, CHUNK, S, SHARED,
    EPS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """mean, rstd and biased variance of a set from its parts."""
    s = tl.program_id(0).to(tl.int64)
    total = tl.full((BLOCK,), 0, ACC)
    for start in range(0, MANY, BLOCK):
        _, at, mask = entries(s, start, INNER, STRIDE, MANY, BLOCK)
        total += tl.load(TOTAL + at, mask=mask, other=0)
    mean = tl.reduce(total, 0, add) / SHARED
    square = tl.full((BLOCK,), 0, ACC)
    for start in range(0, MANY, BLOCK):
        e, at, mask = entries(s, start, INNER, STRIDE, MANY, BLOCK)
        count = tl.where(e % PARTS == PARTS - 1, S - (PARTS - 1) * CHUNK, CHUNK).to(ACC)
        off = tl.load(TOTAL + at, mask=mask, other=0) / count - mean
        part = tl.load(SQUARE + at, mask=mask, other=0) + count * off * off
        square += tl.where(mask, part, 0.0)
    var = tl.reduce(square, 0, add) / SHARED
    # of an infinite variance NaN, where 1 / inf would make zeros of it
    rstd = tl.where(var == float("inf"), float("nan"), 1 / tl.sqrt(var + EPS))
    tl.store(MEAN + s, mean)
    tl.store(RSTD + s, rstd)
    tl.store(VAR + s, var)


@triton.jit
def totals_kernel(
    ABOUT, ALONG, WEIGHT, SUMS, MEANS, INNER, STRIDE, MANY, PARTS, SETS, EACH, SHARED,
    HAS_WEIGHT: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """sum(dy) and sum(dy xhat) of a set, and the means of g = dy weight and of g xhat over it."""
    s = tl.program_id(0).to(tl.int64)
    about = tl.full((BLOCK,), 0, ACC)
    along = tl.full((BLOCK,), 0, ACC)
    about_g = tl.full((BLOCK,), 0, ACC)
    along_g = tl.full((BLOCK,), 0, ACC)
    for start in range(0, MANY, BLOCK):
        e, at, mask = entries(s, start, INNER, STRIDE, MANY, BLOCK)
        here = tl.load(ABOUT + at, mask=mask, other=0)
        there = tl.load(ALONG + at, mask=mask, other=0)
        about += here
        along += there
        if HAS_WEIGHT:
            channel = s % SETS * EACH + e % INNER // PARTS
            weight = tl.load(WEIGHT + channel, mask=mask, other=0).to(ACC)
            here *= weight
            there *= weight
        about_g += here
        along_g += there
    sets = tl.num_programs(0)
    tl.store(SUMS + s, tl.reduce(about, 0, add))
    tl.store(SUMS + sets + s, tl.reduce(along, 0, add))
    tl.store(MEANS + s, tl.reduce(about_g, 0, add) / SHARED)
    tl.store(MEANS + sets + s, tl.reduce(along_g, 0, add) / SHARED)


@triton.jit
def each_kernel(
    DY, X, WEIGHT, BIAS, MEAN, RSTD, ABOUT, ALONG, OUT, L, S, C, SETS, EACH,
    BACKWARD: tl.constexpr, HAS_WEIGHT: tl.constexpr, HAS_BIAS: tl.constexpr,
    BY_HAND: tl.constexpr, BY_ROWS: tl.constexpr, ACC: tl.constexpr, LINES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """y = xhat weight + bias; backward, with g = dy weight: dx = rstd (g - mean(g) - xhat
    mean(g xhat))."""
    program, across = tl.program_id(0).to(tl.int64), (L + LINES - 1) // LINES
    line = program % across * LINES + tl.arange(0, LINES)
    p = program // across * BLOCK + tl.arange(0, BLOCK)
    mask = (line < L)[:, None] & (p < S)[None, :]
    mine = set_of(line, C, SETS, EACH)
    x = tl.load(place(X, line, p, L, S, BY_ROWS), mask=mask, other=0).to(ACC)
    mean = tl.load(MEAN + mine, mask=line < L, other=0)[:, None]
    rstd = tl.load(RSTD + mine, mask=line < L, other=0)[:, None]
    xhat = (x - mean) * rstd
    out = xhat
    if BACKWARD:
        out = tl.load(place(DY, line, p, L, S, BY_ROWS), mask=mask, other=0).to(ACC)
    if HAS_WEIGHT:
        out *= tl.load(WEIGHT + line % C, mask=line < L, other=0).to(ACC)[:, None]
    if HAS_BIAS:
        out += tl.load(BIAS + line % C, mask=line < L, other=0).to(ACC)[:, None]
    if BACKWARD:
        through_mean = tl.load(ABOUT + mine, mask=line < L, other=0)[:, None]
        through_rstd = xhat * tl.load(ALONG + mine, mask=line < L, other=0)[:, None]
        out = rstd * (out - through_mean - through_rstd)
    to = place(OUT, line, p, L, S, BY_ROWS)
    tl.store(to, rounded(out, BY_HAND).to(OUT.dtype.element_ty), mask=mask)
