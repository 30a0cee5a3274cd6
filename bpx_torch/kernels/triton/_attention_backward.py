"""The backward of attention in Triton. Maths, shapes and source: bpx/layers/attention.py.

As in Dao 2023, arXiv:2307.08691, algorithm 2, but dquery has a pass of its own, in which a program
adds up a block of queries over the keys: no atomics, and two runs give the same bits. A program of
the other pass owns a block of keys and adds up over the queries of all heads that share them.
delta, the sum of dp p over a row, is <dy, y>, also under dropout.
"""

import torch
import triton
import triton.language as tl

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _attention_bias, _attention_blocks, _launch
from bpx_torch.kernels.triton._attention import Call, block, like, narrowed, pulled, rows, spans
from bpx_torch.kernels.triton._launch import add
from bpx_torch.kernels.triton._rows import rounded

DELTAS = 64  # rows of a program


@triton.jit
def delta_kernel(
    DY, Y, TOP, MASS, DELTA, BOTH, COUNT, H, T, gb, gh, gt, yb, yh, yt, UNIT: tl.constexpr,
    DROP: tl.constexpr, ACC: tl.constexpr, E: tl.constexpr, EB: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    b, h, t, e = row // T // H, row // T % H, row % T, tl.arange(0, EB)[None, :]
    mask = (row < COUNT)[:, None] & (e < E)
    g = tl.load(DY + (b * gb + h * gh + t * gt)[:, None] + e, mask=mask, other=0).to(ACC)
    y = tl.load(Y + (b * yb + h * yh + t * yt)[:, None] + e, mask=mask, other=0).to(ACC)
    tl.store(DELTA + row, tl.reduce(g * y, 1, add) / DROP, mask=row < COUNT)
    if UNIT != 1:
        both = tl.load(TOP + row, mask=row < COUNT) + tl.load(MASS + row, mask=row < COUNT)
        tl.store(BOTH + row, both * UNIT, mask=row < COUNT)


@triton.jit
def dquery_kernel(
    Q, K, V, DY, TOP, MASS, DELTA, DQ, BIAS, MASK, KEY, H, G, T, S, qb, qh, qt, kb, kh, ks, vb, vh,
    vs, bb, bh, bt, bs, mb, mh, mt, ms, LEFT, RIGHT, LEAST, gb, gh, gt, xb, xh, xt,
    SCALE: tl.constexpr, PRESCALE: tl.constexpr, FACTOR: tl.constexpr, CAP: tl.constexpr,
    UNIT: tl.constexpr, FOLD: tl.constexpr, DROP: tl.constexpr, HAS_DROP: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr, BY_HAND: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, DB: tl.constexpr, EB: tl.constexpr, M: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    program, blocks = tl.program_id(0), (T + M - 1) // M
    head = program // blocks
    b, h = (head // H).to(tl.int64), (head % H).to(tl.int64)
    start = (blocks - 1 - program % blocks) * M
    ii, d, e = tl.arange(0, M), tl.arange(0, DB), tl.arange(0, EB)
    i = start + ii
    inside = (i < T)[:, None]
    Q += b * qb + h * qh + start * tl.cast(qt, tl.int64)
    DY += b * gb + h * gh + start * tl.cast(gt, tl.int64)
    K += b * kb + h // G * kh
    V += b * vb + h // G * vh
    BIAS += b * bb + h * bh
    MASK += b * mb + h * mh
    q_at, g_at = ii[:, None] * qt + d[None, :], ii[:, None] * gt + e[None, :]
    q = block(Q, q_at, inside, d[None, :] < D, True, D != DB, BY_HAND)
    g = block(DY, g_at, inside, e[None, :] < E, True, E != EB, BY_HAND)
    if PRESCALE != 1:
        q *= PRESCALE
    row = head.to(tl.int64) * T + i
    top = tl.load(TOP + row, mask=i < T, other=0)[:, None]
    mass = top
    if WIDE:
        mass = tl.load(MASS + row, mask=i < T, other=0)[:, None]
    delta = tl.load(DELTA + row, mask=i < T, other=0)[:, None]
    dq = tl.full((M, DB), 0, ACC)
    jj = tl.arange(0, N)
    k_at, v_at = jj[None, :] * ks + d[:, None], jj[None, :] * vs + e[:, None]
    k_step, v_step = tl.cast(ks, tl.int64), tl.cast(vs, tl.int64)
    bounds = spans(start, T, S, LEFT, RIGHT, HAS_LEFT, HAS_RIGHT, HAS_MASK, M, N)
    for PART in tl.static_range(3):
        if (PART != 0 or HAS_LEFT) and (PART != 1 or not HAS_MASK):
            for j0 in range(bounds[PART], bounds[PART + 1], N):
                j = j0 + jj
                there = (j < S)[None, :]
                k = block(
                    K + j0 * k_step, k_at, there, d[:, None] < D, PART != 1, D != DB, BY_HAND
                )  # fmt: skip
                v = block(
                    V + j0 * v_step, v_at, there, e[:, None] < E, PART != 1, E != EB, BY_HAND
                )  # fmt: skip
                z = tl.dot(q, k, input_precision=PRECISION, out_dtype=ACC)
                dp = tl.dot(g, v, input_precision=PRECISION, out_dtype=ACC)
                _, _, dz = pulled(
                    z, dp, top, mass, delta, i[:, None], j[None, :], head, T, S, BIAS, bt, bs,
                    MASK, mt, ms, KEY, LEFT, RIGHT, LEAST, PART != 1, FACTOR, CAP, UNIT, FOLD,
                    HAS_DROP, HAS_LEFT, HAS_RIGHT, HAS_BIAS, HAS_MASK, WIDE,
                )  # fmt: skip
                dz = narrowed(dz, K.dtype.element_ty, BY_HAND)
                dq = tl.dot(dz, tl.trans(k), dq, input_precision=PRECISION, out_dtype=ACC)
    dq = rounded(dq * (SCALE * DROP), BY_HAND).to(DQ.dtype.element_ty)
    DQ += b * xb + h * xh + start * tl.cast(xt, tl.int64)
    tl.store(DQ + ii[:, None] * xt + d[None, :], dq, mask=inside & (d < D)[None, :])


@triton.jit
def dkey_kernel(
    Q, K, V, DY, TOP, MASS, DELTA, DK, DV, BIAS, MASK, KEY, H, G, T, S, qb, qh, qt, kb, kh, ks, vb,
    vh, vs, bb, bh, bt, bs, mb, mh, mt, ms, LEFT, RIGHT, LEAST, gb, gh, gt, xb, xh, xs, zb, zh, zs,
    SCALE: tl.constexpr, PRESCALE: tl.constexpr, FACTOR: tl.constexpr, CAP: tl.constexpr,
    UNIT: tl.constexpr, FOLD: tl.constexpr, DROP: tl.constexpr, HAS_DROP: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr, BY_HAND: tl.constexpr,
    D: tl.constexpr, E: tl.constexpr, DB: tl.constexpr, EB: tl.constexpr, M: tl.constexpr,
    N: tl.constexpr,
):  # fmt: skip
    program, blocks = tl.program_id(0), (S + N - 1) // N
    of = program // blocks  # a head of the keys, of all examples
    b, h = (of // (H // G)).to(tl.int64), (of % (H // G)).to(tl.int64)
    start = program % blocks * N  # the longest of causal ones first
    jj, d, e = tl.arange(0, N), tl.arange(0, DB)[None, :], tl.arange(0, EB)[None, :]
    j = start + jj
    there = (j < S)[:, None]
    K += b * kb + h * kh + start * tl.cast(ks, tl.int64)
    V += b * vb + h * vh + start * tl.cast(vs, tl.int64)
    k = block(K, jj[:, None] * ks + d, there, d < D, True, D != DB, BY_HAND)
    v = block(V, jj[:, None] * vs + e, there, e < E, True, E != EB, BY_HAND)
    dk, dv = tl.full((N, DB), 0, ACC), tl.full((N, EB), 0, ACC)
    ii = tl.arange(0, M)
    q_at, g_at = ii[:, None] * qt + d, ii[:, None] * gt + e
    q_step, g_step = tl.cast(qt, tl.int64), tl.cast(gt, tl.int64)
    bounds = spans(start, S, T, RIGHT, LEFT, HAS_RIGHT, HAS_LEFT, HAS_MASK, N, M)
    for share in range(G):
        head = of * G + share
        this = h * G + share
        row = head.to(tl.int64) * T
        for PART in tl.static_range(3):
            if (PART != 0 or HAS_RIGHT) and (PART != 1 or not HAS_MASK):
                for i0 in range(bounds[PART], bounds[PART + 1], M):
                    i = i0 + ii
                    inside = i < T
                    q = block(
                        Q + b * qb + this * qh + i0 * q_step, q_at, inside[:, None], d < D,
                        PART != 1, D != DB, BY_HAND,
                    )  # fmt: skip
                    g = block(
                        DY + b * gb + this * gh + i0 * g_step, g_at, inside[:, None], e < E,
                        PART != 1, E != EB, BY_HAND,
                    )  # fmt: skip
                    if PRESCALE != 1:
                        q *= PRESCALE
                    top = block(TOP + row, i, inside, inside, PART != 1, False, False)
                    mass = top
                    if WIDE:
                        mass = block(MASS + row, i, inside, inside, PART != 1, False, False)
                    delta = block(DELTA + row, i, inside, inside, PART != 1, False, False)
                    z = tl.dot(k, tl.trans(q), input_precision=PRECISION, out_dtype=ACC)
                    dp = tl.dot(v, tl.trans(g), input_precision=PRECISION, out_dtype=ACC)
                    w, _, dz = pulled(
                        z, dp, top[None, :], mass[None, :], delta[None, :], i[None, :],
                        j[:, None], head, T, S, BIAS + b * bb + this * bh, bt, bs,
                        MASK + b * mb + this * mh, mt, ms, KEY, LEFT, RIGHT, LEAST, PART != 1,
                        FACTOR, CAP, UNIT, FOLD, HAS_DROP, HAS_LEFT, HAS_RIGHT, HAS_BIAS,
                        HAS_MASK, WIDE,
                    )  # fmt: skip
                    w = narrowed(w, DY.dtype.element_ty, BY_HAND)
                    dz = narrowed(dz, Q.dtype.element_ty, BY_HAND)
                    dv = tl.dot(w, g, dv, input_precision=PRECISION, out_dtype=ACC)
                    dk = tl.dot(dz, q, dk, input_precision=PRECISION, out_dtype=ACC)
    dk, dv = dk * DROP, dv * DROP
    if PRESCALE == 1:
        dk *= SCALE
    DK += b * xb + h * xh + start * tl.cast(xs, tl.int64)
    DV += b * zb + h * zh + start * tl.cast(zs, tl.int64)
    dk = rounded(dk, BY_HAND).to(DK.dtype.element_ty)
    dv = rounded(dv, BY_HAND).to(DV.dtype.element_ty)
    tl.store(DK + jj[:, None] * xs + d, dk, mask=there & (d < D))
    tl.store(DV + jj[:, None] * zs + e, dv, mask=there & (e < E))


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, bias, mask, dropout_key = arrays
    call = Call(query, key, value, bias, mask, dropout_key, options)
    dy, y = rows(dy, query.dtype), rows(residuals[0])
    top, mass = map(_opaque.readable, residuals[1:])
    delta = torch.empty_like(top)
    both = top if call.wide else torch.empty_like(top)
    constants = {"SCALE": call.scale, **call.constants}
    _launch.run(
        delta_kernel, (triton.cdiv(top.numel(), DELTAS),), query, dy, y, top, mass, delta, both,
        top.numel(), *query.shape[1:3], *dy.stride()[:3], *y.stride()[:3], R=DELTAS,
        **{name: constants[name] for name in ("UNIT", "DROP", "ACC", "E", "EB")},
    )  # fmt: skip
    given = call.query, call.key, call.value, dy, both, mass, delta
    t, s = call.sizes[:2]
    dquery = dkey = dvalue = dbias = None
    if needs[0]:
        dquery, blocks = like(query, query.shape[3]), _attention_blocks.of("dquery", call)
        _launch.run(
            dquery_kernel, (call.batch * call.heads * triton.cdiv(t, blocks["M"]),), query, *given,
            dquery, *call.arguments, *dy.stride()[:3], *dquery.stride()[:3], **constants, **blocks,
        )  # fmt: skip
    if needs[1] or needs[2]:
        dkey, dvalue = (like(a, a.shape[3]) for a in (key, value))
        blocks = _attention_blocks.of("dkey", call)
        _launch.run(
            dkey_kernel, (key.shape[0] * key.shape[1] * triton.cdiv(s, blocks["N"]),), query,
            *given, dkey, dvalue, *call.arguments, *dy.stride()[:3], *dkey.stride()[:3],
            *dvalue.stride()[:3], **constants, **blocks,
        )  # fmt: skip
    if needs[3]:
        dbias = _attention_bias.gradient(call, given)
    return dquery, dkey, dvalue, dbias, None, None
