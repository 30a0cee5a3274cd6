"""dbias of attention in Triton: a program owns a block of the bias, or a row or column of one, and
adds up over what it is broadcast to, in one order. Maths and shapes: bpx/layers/attention.py."""

import triton
import triton.language as tl

from bpx_torch.kernels.triton import _attention_blocks, _launch
from bpx_torch.kernels.triton._attention import block, pulled
from bpx_torch.kernels.triton._launch import add


@triton.jit
def dbias_kernel(
    Q, K, V, DY, TOP, MASS, DELTA, DBIAS, BIAS, MASK, KEY, H, G, T, S, qb, qh, qt, kb, kh, ks, vb,
    vh, vs, bb, bh, bt, bs, mb, mh, mt, ms, LEFT, RIGHT, LEAST, gb, gh, gt, B1, H1, T1, S1, B,
    PRESCALE: tl.constexpr, FACTOR: tl.constexpr, CAP: tl.constexpr, UNIT: tl.constexpr,
    FOLD: tl.constexpr, DROP: tl.constexpr, HAS_DROP: tl.constexpr, HAS_LEFT: tl.constexpr,
    HAS_RIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, ACC: tl.constexpr, BY_HAND: tl.constexpr, D: tl.constexpr,
    E: tl.constexpr, DB: tl.constexpr, EB: tl.constexpr, LONG: tl.constexpr, BROAD: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr,
):  # fmt: skip
    across, down = (S1 + N - 1) // N, (T1 + M - 1) // M
    program = tl.program_id(0)
    i_own, j_own = program // across % down * M, program % across * N
    h_own, b_own = program // (across * down) % H1, program // (across * down) // H1
    # from the own place to the next, or over all that one place is broadcast to
    i_end = i_own + M if LONG else T
    j_end = j_own + N if BROAD else S
    b_end = tl.where(B1 == 1, B, b_own + 1)
    h_end = tl.where(H1 == 1, H, h_own + 1)
    ii, jj = tl.arange(0, M), tl.arange(0, N)
    d, e = tl.arange(0, DB), tl.arange(0, EB)
    q_step, g_step = tl.cast(qt, tl.int64), tl.cast(gt, tl.int64)
    k_step, v_step = tl.cast(ks, tl.int64), tl.cast(vs, tl.int64)
    q_at, g_at = ii[:, None] * qt + d[None, :], ii[:, None] * gt + e[None, :]
    k_at, v_at = jj[None, :] * ks + d[:, None], jj[None, :] * vs + e[:, None]
    total = tl.full((M, N), 0, ACC)
    for b0 in range(b_own, b_end):
        for h in range(h_own, h_end):
            b = tl.cast(b0, tl.int64)
            head = b * H + h
            group = h // G
            for i0 in range(i_own, i_end, M):
                i = i0 + ii
                inside = (i < T)[:, None]
                q = block(
                    Q + b * qb + h * tl.cast(qh, tl.int64) + i0 * q_step, q_at, inside,
                    d[None, :] < D, True, D != DB, BY_HAND,
                )  # fmt: skip
                g = block(
                    DY + b * gb + h * tl.cast(gh, tl.int64) + i0 * g_step, g_at, inside,
                    e[None, :] < E, True, E != EB, BY_HAND,
                )  # fmt: skip
                if PRESCALE != 1:
                    q *= PRESCALE
                row = head * T + i
                top = tl.load(TOP + row, mask=i < T, other=0)[:, None]
                mass = top
                if WIDE:
                    mass = tl.load(MASS + row, mask=i < T, other=0)[:, None]
                delta = tl.load(DELTA + row, mask=i < T, other=0)[:, None]
                for j0 in range(j_own, j_end, N):
                    j = j0 + jj
                    there = (j < S)[None, :]
                    k = block(
                        K + b * kb + group * tl.cast(kh, tl.int64) + j0 * k_step, k_at, there,
                        d[:, None] < D, True, D != DB, BY_HAND,
                    )  # fmt: skip
                    v = block(
                        V + b * vb + group * tl.cast(vh, tl.int64) + j0 * v_step, v_at, there,
                        e[:, None] < E, True, E != EB, BY_HAND,
                    )  # fmt: skip
                    z = tl.dot(q, k, input_precision=PRECISION, out_dtype=ACC)
                    dp = tl.dot(g, v, input_precision=PRECISION, out_dtype=ACC)
                    _, ds, _ = pulled(
                        z, dp, top, mass, delta, i[:, None], j[None, :], head, T, S,
                        BIAS + b * bb + h * tl.cast(bh, tl.int64), bt, bs,
                        MASK + b * mb + h * tl.cast(mh, tl.int64), mt, ms, KEY, LEFT, RIGHT,
                        LEAST, True, FACTOR, CAP, UNIT, FOLD, HAS_DROP, HAS_LEFT,
                        HAS_RIGHT, HAS_BIAS, HAS_MASK, WIDE,
                    )  # fmt: skip
                    total += ds
    total *= DROP
    if not LONG:
        total = tl.reduce(total, 0, add)[None, :] + tl.full((M, 1), 0, ACC)
    if not BROAD:
        total = tl.reduce(total, 1, add)[:, None] + tl.full((1, N), 0, ACC)
    i, j = i_own + ii[:, None], j_own + jj[None, :]
    start = (tl.cast(b_own, tl.int64) * H1 + h_own) * T1
    tl.store(DBIAS + (start + i) * S1 + j, total, mask=(i < T1) & (j < S1))


def gradient(call, given):
    """dbias of a Call; `given` are query, key, value, dy, top, mass, delta as the kernels read
    them."""
    query, dy, top = given[0], given[3], given[4]
    blocks = _attention_blocks.of("dbias", call)
    b, h, t, s = shape = call.bias.shape
    dbias = top.new_empty(shape)
    _launch.run(
        dbias_kernel, (b * h * triton.cdiv(t, blocks["M"]) * triton.cdiv(s, blocks["N"]),), query,
        *given, dbias, *call.arguments, *dy.stride()[:3], *shape, call.batch,
        **call.constants, LONG=t > 1, BROAD=s > 1, **blocks,
    )  # fmt: skip
    return dbias
