"""A step over all tensors of a group as one launch, in Triton: one pass over each element.

A program steps BLOCK elements of one tensor. Which, it reads from a table on the GPU, and the
addresses of the tensor from another; no element's arithmetic looks at another, so two runs give the
same bits. Maths, options and sources are the optimizers'; the formulas are in _step_formulas.py.
"""

import torch
import triton
import triton.language as tl

from bpx_torch import _native_step as ns
from bpx_torch.kernels.triton import _launch, _step_formulas, _step_numbers
from bpx_torch.kernels.triton._rows import rounded

BLOCK, WARPS = 1024, 4
PLANES = 7  # of a table: parameter, gradient, three states, count, size; then FACTORS more
FACTORS, FIXED = 3, 5
IN_GRADIENT, ON_PARAMETER = 1, 2  # where weight decay is
TYPES = {
    torch.float32: tl.float32,
    torch.float64: tl.float64,
    torch.float16: tl.float16,
    torch.bfloat16: tl.bfloat16,
}
COUPLED, DECOUPLED = tl.constexpr(IN_GRADIENT), tl.constexpr(ON_PARAMETER)


@triton.jit
def at(TABLE, word, T: tl.constexpr, ALIGNED: tl.constexpr):
    """The address that a word of a table holds."""
    pointer = tl.load(TABLE + word).to(tl.pointer_type(T))
    return tl.multiple_of(pointer, 16) if ALIGNED else pointer


@triton.jit
def read(pointer, i, size, WHOLE: tl.constexpr):
    """A whole block has no mask, which would part the wide loads."""
    return tl.load(pointer + i) if WHOLE else tl.load(pointer + i, mask=i < size, other=0)


@triton.jit
def write(pointer, i, value, size, WHOLE: tl.constexpr):
    if WHOLE:
        tl.store(pointer + i, value)
    else:
        tl.store(pointer + i, value, mask=i < size)


@triton.jit
def block(
    TABLE, N, tensor, first, size, A0, A1, A2, DECAY, B0, B1, B2, B3, B4,
    UPDATE: tl.constexpr, FLAGS: tl.constexpr, STATES: tl.constexpr, DECAYS: tl.constexpr,
    CLIMBS: tl.constexpr, T: tl.constexpr, ACC: tl.constexpr, ALIGNED: tl.constexpr,
    WHOLE: tl.constexpr, BY_HAND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.arange(0, BLOCK)
    p = at(TABLE, tensor, T, ALIGNED) + first
    w = read(p, i, size, WHOLE).to(ACC)
    g = read(at(TABLE, N + tensor, T, ALIGNED) + first, i, size, WHOLE).to(ACC)
    s0, s1, s2 = w, w, w  # a stand-in for what the optimizer has not
    p0, p1, p2 = p, p, p
    if STATES & 1:
        p0 = at(TABLE, 2 * N + tensor, ACC, ALIGNED) + first
        s0 = read(p0, i, size, WHOLE)
    if STATES & 2:
        p1 = at(TABLE, 3 * N + tensor, ACC, ALIGNED) + first
        s1 = read(p1, i, size, WHOLE)
    if STATES & 4:
        p2 = at(TABLE, 4 * N + tensor, ACC, ALIGNED) + first
        s2 = read(p2, i, size, WHOLE)
    if CLIMBS:
        g = -g
    if DECAYS == COUPLED:
        g += DECAY.to(ACC) * w
    elif DECAYS == DECOUPLED:
        w *= DECAY.to(ACC)
    w, s0, s1, s2 = UPDATE(
        w, g, s0, s1, s2, A0.to(ACC), A1.to(ACC), A2.to(ACC),
        B0.to(ACC), B1.to(ACC), B2.to(ACC), B3.to(ACC), B4.to(ACC), FLAGS,
    )  # fmt: skip
    write(p, i, rounded(w, BY_HAND).to(T), size, WHOLE)
    if STATES & 1:
        write(p0, i, s0, size, WHOLE)
    if STATES & 2:
        write(p1, i, s1, size, WHOLE)
    if STATES & 4:
        write(p2, i, s2, size, WHOLE)


@triton.jit
def step_kernel(
    CHUNKS, TABLE, N, A0: tl.float64, A1: tl.float64, A2: tl.float64, DECAY: tl.float64,
    B0: tl.float64, B1: tl.float64, B2: tl.float64, B3: tl.float64, B4: tl.float64,
    UPDATE: tl.constexpr, FLAGS: tl.constexpr, STATES: tl.constexpr, DECAYS: tl.constexpr,
    CLIMBS: tl.constexpr, VARIES: tl.constexpr, T: tl.constexpr, ACC: tl.constexpr,
    ALIGNED: tl.constexpr, BY_HAND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    chunk = tl.program_id(0).to(tl.int64) * 2
    tensor = tl.load(CHUNKS + chunk).to(tl.int64)
    first = tl.load(CHUNKS + chunk + 1).to(tl.int64) * BLOCK
    size = tl.load(TABLE + 6 * N + tensor) - first
    if VARIES:
        A0 = tl.load(TABLE + 7 * N + tensor).to(tl.float64, bitcast=True)
        A1 = tl.load(TABLE + 8 * N + tensor).to(tl.float64, bitcast=True)
        A2 = tl.load(TABLE + 9 * N + tensor).to(tl.float64, bitcast=True)
    if size >= BLOCK:
        block(
            TABLE, N, tensor, first, size, A0, A1, A2, DECAY, B0, B1, B2, B3, B4, UPDATE, FLAGS,
            STATES, DECAYS, CLIMBS, T, ACC, ALIGNED, True, BY_HAND, BLOCK,
        )  # fmt: skip
    else:
        block(
            TABLE, N, tensor, first, size, A0, A1, A2, DECAY, B0, B1, B2, B3, B4, UPDATE, FLAGS,
            STATES, DECAYS, CLIMBS, T, ACC, ALIGNED, False, BY_HAND, BLOCK,
        )  # fmt: skip


def refuses(p):
    """None, or why a parameter like this one is not stepped here."""
    if (reason := _launch.refuses((p,))) is not None:
        return reason
    if p.dtype not in TYPES:
        return f"it takes float32, float64, bfloat16 and float16, not {p.dtype}"
    if p.is_cuda and torch.cuda.is_current_stream_capturing():
        return "a graph is captured, which would keep the addresses of this step's gradients"
    return None


def numbers(call):
    """The numbers of a call, or None where no formula is written for its kernel."""
    found = getattr(_step_numbers, call.kernel.removeprefix("step_"), None)
    return None if found is None else found(call.flags, *call.numbers)


def chunks(sizes, device):
    """Each program's tensor, and which of the tensor's blocks it steps: int32 [programs, 2]."""
    each = torch.tensor([-(-size // BLOCK) for size in sizes])
    tensor = torch.repeat_interleave(torch.arange(len(sizes)), each)
    place = torch.arange(len(tensor)) - (each.cumsum(0) - each)[tensor]
    return torch.stack((tensor, place), 1).int().to(device)


def launch(p, call, found, parts, table, n, factors, varies, aligned):
    """Step the n tensors of a table; p is one of them, parts what `chunks` gave."""
    decays = 0 if found.decay == 0 else IN_GRADIENT  # 0 * inf would be NaN
    decay = found.decay
    if decays and (found.decoupled or call.flags & ns.DECOUPLED):
        decays, decay = ON_PARAMETER, 1 - found.lr * decay
    fixed = (*map(float, found.fixed), *[0.0] * (FIXED - len(found.fixed)))
    name = call.kernel.removeprefix("step_")
    wide = p.dtype == torch.float64
    _launch.run(
        step_kernel, (len(parts),), p, parts, table, n, *factors, float(decay), *fixed,
        UPDATE=getattr(_step_formulas, name), FLAGS=call.flags,
        STATES=sum(1 << k for k, key in enumerate(call.states) if key is not None),
        DECAYS=decays, CLIMBS=bool(call.flags & ns.MAXIMIZE), VARIES=varies,
        T=TYPES[p.dtype], ACC=tl.float64 if wide else tl.float32, ALIGNED=aligned,
        BY_HAND=not p.is_cuda and p.dtype == torch.bfloat16, BLOCK=BLOCK, num_warps=WARPS,
    )  # fmt: skip
