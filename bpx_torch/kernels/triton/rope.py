"""rope for torch on a GPU, in Triton: each array is read or written once. Maths, shapes and source:
bpx/layers/rope.py."""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._rows import refuses_types, rounded, statistic

ELEMENTS = 2048  # of a program, in whole rows


@triton.jit
def pairs_of(row, D, P, INTERLEAVED: tl.constexpr, PAIRS: tl.constexpr):
    """Where the first and the second of each pair of these rows are, and which pairs there are."""
    p = tl.arange(0, PAIRS)[None, :]
    if INTERLEAVED:
        first = row[:, None] * D + 2 * p
        second = first + 1
    else:
        first = row[:, None] * D + p
        second = first + P
    return first, second, p < P


@triton.jit
def turn_kernel(
    X, COS, SIN, Y, N, T, D, P, BACK: tl.constexpr, INTERLEAVED: tl.constexpr,
    BY_HAND: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, PAIRS: tl.constexpr,
    REST: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = row[:, None] < N
    first, second, here = pairs_of(row, D, P, INTERLEAVED, PAIRS)
    mask = inside & here
    of_table = (row % T)[:, None] * P + tl.arange(0, PAIRS)[None, :]
    cos = tl.load(COS + of_table, mask=mask, other=0).to(ACC)
    sin = tl.load(SIN + of_table, mask=mask, other=0).to(ACC)
    if BACK:
        sin = -sin
    a = tl.load(X + first, mask=mask, other=0).to(ACC)
    b = tl.load(X + second, mask=mask, other=0).to(ACC)
    turned, beside = a * cos - b * sin, b * cos + a * sin
    tl.store(Y + first, rounded(turned, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    tl.store(Y + second, rounded(beside, BY_HAND).to(Y.dtype.element_ty), mask=mask)
    if REST:  # what is not turned
        d = 2 * P + tl.arange(0, REST)[None, :]
        at = row[:, None] * D + d
        tl.store(Y + at, tl.load(X + at, mask=inside & (d < D)), mask=inside & (d < D))


@triton.jit
def tables_kernel(
    DY, X, DCOS, DSIN, N, T, D, P, INTERLEAVED: tl.constexpr, ACC: tl.constexpr,
    PAIRS: tl.constexpr,
):  # fmt: skip
    # dcos = sum(dy1 x1 + dy2 x2),  dsin = sum(dy2 x1 - dy1 x2) over all rows of one place in time
    t = tl.program_id(0).to(tl.int64)
    dcos = tl.full((1, PAIRS), 0, ACC)
    dsin = tl.full((1, PAIRS), 0, ACC)
    for n in range(N):
        row = n * T + t + tl.arange(0, 1)
        first, second, here = pairs_of(row, D, P, INTERLEAVED, PAIRS)
        dy1 = tl.load(DY + first, mask=here, other=0).to(ACC)
        dy2 = tl.load(DY + second, mask=here, other=0).to(ACC)
        x1 = tl.load(X + first, mask=here, other=0).to(ACC)
        x2 = tl.load(X + second, mask=here, other=0).to(ACC)
        dcos += dy1 * x1 + dy2 * x2
        dsin += dy2 * x1 - dy1 * x2
    p = tl.arange(0, PAIRS)[None, :]
    tl.store(DCOS + t * P + p, dcos, mask=p < P)
    tl.store(DSIN + t * P + p, dsin, mask=p < P)


def refuses(arrays, dims):
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    if (reason := refuses_types(("x", "cos", "sin"), arrays)) is not None:
        return reason
    return "an argument has no elements" if any(a.numel() == 0 for a in arrays) else None


def numbers(x, pairs, interleaved):
    return {
        "INTERLEAVED": interleaved,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
        "PAIRS": triton.next_power_of_2(pairs),
    }


def turned(x, cos, sin, interleaved, back):
    x, cos, sin = map(_opaque.readable, (x, cos, sin))
    y = torch.empty_like(x)
    length, columns = x.shape[-2:]
    pairs = cos.shape[1]
    rows = x.numel() // columns
    each = max(ELEMENTS // triton.next_power_of_2(columns), 1)
    rest = columns - 2 * pairs
    _launch.run(
        turn_kernel, (triton.cdiv(rows, each),), x,
        x, cos, sin, y, rows, length, columns, pairs, BACK=back, ROWS=each,
        REST=triton.next_power_of_2(rest) if rest else 0,
        BY_HAND=x.device.type == "cpu" and x.dtype == torch.bfloat16,
        **numbers(x, pairs, interleaved),
    )  # fmt: skip
    return y


def forward(x, cos, sin, *, interleaved):
    return turned(x, cos, sin, interleaved, False), ()


def backward(dy, arrays, residuals, needs, *, interleaved):
    # dx = dy turned back, by the angles of cos and -sin
    x, cos, sin = arrays
    dy = dy.to(x.dtype)
    dx = turned(dy, cos, sin, interleaved, True) if needs[0] else None
    if not (needs[1] or needs[2]):
        return dx, None, None
    x, dy = _opaque.readable(x), _opaque.readable(dy)
    dcos, dsin = (torch.empty_like(cos, dtype=statistic(x)).contiguous() for _ in range(2))
    (length, pairs), columns = cos.shape, x.shape[-1]
    _launch.run(
        tables_kernel, (length,), x,
        dy, x, dcos, dsin, x.numel() // (length * columns), length, columns, pairs,
        **numbers(x, pairs, interleaved),
    )  # fmt: skip
    return dx, dcos if needs[1] else None, dsin if needs[2] else None
