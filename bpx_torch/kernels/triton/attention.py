"""attention for torch on a GPU, in Triton. Maths, shapes and source: bpx/layers/attention.py.

Forward as in Dao 2023, "FlashAttention-2", arXiv:2307.08691, algorithm 1: a program has a block of
queries, walks over the keys that they see, and keeps y, the largest score and the sum of a row in
registers. Blocks that causal or window hide are left out, those that are seen wholly are not
masked. Products are of 16-bit numbers, sums in float32; no (T, S) array is made.
"""

import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels.triton import _attention_backward, _attention_blocks, _launch
from bpx_torch.kernels.triton._attention import (
    Call,
    block,
    kept,
    like,
    narrowed,
    power,
    scores,
    spans,
)
from bpx_torch.kernels.triton._launch import add, larger
from bpx_torch.kernels.triton._rows import (
    refuses_double,
    refuses_types,
    rounded,
    statistic,
)

WIDEST = 256  # features of a head
LONGEST = 2**30  # queries or keys


@triton.jit
def forward_kernel(
    Q, K, V, Y, TOP, MASS, BIAS, MASK, KEY, H, G, T, S, qb, qh, qt, kb, kh, ks, vb, vh, vs, bb, bh,
    bt, bs, mb, mh, mt, ms, LEFT, RIGHT, LEAST, yb, yh, yt, PRESCALE: tl.constexpr,
    FACTOR: tl.constexpr, CAP: tl.constexpr, UNIT: tl.constexpr, FOLD: tl.constexpr,
    DROP: tl.constexpr, HAS_DROP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
    ACC: tl.constexpr, BY_HAND: tl.constexpr, D: tl.constexpr, E: tl.constexpr, DB: tl.constexpr,
    EB: tl.constexpr, M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    program, blocks = tl.program_id(0), (T + M - 1) // M
    head = program // blocks
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    start = (blocks - 1 - program % blocks) * M  # the longest of causal ones first
    ii, d, e = tl.arange(0, M), tl.arange(0, DB), tl.arange(0, EB)
    i = start + ii
    inside = (i < T)[:, None]
    Q += b * qb + h * qh + start * tl.cast(qt, tl.int64)
    K += b * kb + h // G * kh
    V += b * vb + h // G * vh
    BIAS += b * bb + h * bh
    MASK += b * mb + h * mh
    q_at = ii[:, None] * qt + d[None, :]
    q = block(Q, q_at, inside, d[None, :] < D, True, D != DB, BY_HAND)
    if PRESCALE != 1:
        q *= PRESCALE
    y = tl.full((M, EB), 0, ACC)
    m = tl.full((M,), float("-inf"), ACC)
    total = tl.full((M,), 0, ACC)
    jj = tl.arange(0, N)
    k_at, v_at = jj[None, :] * ks + d[:, None], jj[:, None] * vs + e[None, :]
    k_step, v_step = tl.cast(ks, tl.int64), tl.cast(vs, tl.int64)
    bounds = spans(start, T, S, LEFT, RIGHT, HAS_LEFT, HAS_RIGHT, HAS_MASK, M, N)
    for PART in tl.static_range(3):
        if (PART != 0 or HAS_LEFT) and (PART != 1 or not HAS_MASK):
            for j0 in range(bounds[PART], bounds[PART + 1], N):
                j = j0 + jj
                there = j < S
                k = block(
                    K + j0 * k_step, k_at, there[None, :], d[:, None] < D, PART != 1, D != DB,
                    BY_HAND,
                )  # fmt: skip
                z = tl.dot(q, k, input_precision=PRECISION, out_dtype=ACC)
                s, _ = scores(
                    z, i[:, None], j[None, :], T, S, BIAS, bt, bs, MASK, mt, ms, LEFT, RIGHT,
                    PART != 1, HAS_LEFT, HAS_RIGHT, HAS_BIAS, HAS_MASK, FACTOR, CAP, UNIT, WIDE,
                )  # fmt: skip
                higher = tl.maximum(m, tl.reduce(s, 1, larger) * FOLD)
                shift = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen so far
                p = power(s * FOLD - shift[:, None], WIDE)
                shrink = power(m - shift, WIDE)
                total = total * shrink + tl.reduce(p, 1, add)
                y *= shrink[:, None]
                if HAS_DROP:
                    keep = kept(KEY, head, T, i[:, None], j[None, :], LEAST)
                    p = tl.where(keep, p, 0.0)
                v = block(
                    V + j0 * v_step, v_at, there[:, None], e[None, :] < E, PART != 1, E != EB,
                    BY_HAND,
                )  # fmt: skip
                p = narrowed(p, V.dtype.element_ty, BY_HAND)
                y = tl.dot(p, v, y, input_precision=PRECISION, out_dtype=ACC)
                m = higher
    some = tl.where(total == 0, 1.0, total)
    y = y / some[:, None] * DROP
    y = rounded(y, BY_HAND).to(Y.dtype.element_ty)
    Y += b * yb + h * yh + start * tl.cast(yt, tl.int64)
    tl.store(Y + ii[:, None] * yt + e[None, :], y, mask=inside & (e < E)[None, :])
    row = head.to(tl.int64) * T + i
    tl.store(TOP + row, tl.where(m == float("-inf"), 0.0, m / UNIT), mask=i < T)
    tl.store(MASS + row, libdevice.log(some), mask=i < T)


def refuses(arrays, dims):
    query, key, value, bias, _, _ = arrays
    if (reason := refuses_double("query", query) or _launch.refuses(arrays)) is not None:
        return reason
    names = ("query", "key", "value", "bias")
    if (reason := refuses_types(names, (query, key, value, bias))) is not None:
        return reason
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    if (wide := max(query.shape[3], value.shape[3])) > WIDEST:
        return f"a head has {wide} features, at most {WIDEST} fit in one block"
    if (long := max(query.shape[2], key.shape[2])) >= LONGEST:
        return f"there are {long} queries or keys, expected less than {LONGEST}"
    if 0 in (query.numel(), key.numel(), value.numel()):
        return "query, key or value has no elements"
    return None


def forward(query, key, value, bias, mask, dropout_key, **options):
    call = Call(query, key, value, bias, mask, dropout_key, options)
    y = like(query, value.shape[3])
    top, mass = (query.new_empty(query.shape[:3], dtype=statistic(query)) for _ in range(2))
    blocks = _attention_blocks.of("forward", call)
    _launch.run(
        forward_kernel, (call.batch * call.heads * triton.cdiv(query.shape[2], blocks["M"]),),
        query, call.query, call.key, call.value, y, top, mass, *call.arguments, *y.stride()[:3],
        **call.constants, **blocks,
    )  # fmt: skip
    return y, (y, top, mass)


backward = _attention_backward.backward
