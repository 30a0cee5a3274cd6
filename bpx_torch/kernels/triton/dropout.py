"""dropout for torch on a GPU, in Triton, and the mask of a key. Maths, shapes and source:
bpx/layers/dropout.py; the random bits are those of bpx/random.py.

A word takes some 75 integer instructions, so drawing a mask costs more than reading and writing 16
bits, and is done in the same pass where no element shares a bit: the memory is then for nothing.
"""

import torch
import triton
import triton.language as tl

from bpx.random import PARITY, ROTATIONS
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._rows import TYPES, rounded

BLOCK = 1024
BYTES, DRAWN = 512, 128  # of the mask in one program
R0, R1, R2, R3, R4, R5, R6, R7 = (tl.constexpr(r) for half in ROTATIONS for r in half)
PARITY_WORD = tl.constexpr(PARITY)


@triton.jit
def masked_kernel(
    X, BITS, Y, N, EACH, FACTOR: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = i < N
    bit = i // EACH
    eight = tl.load(BITS + bit // 8, mask=mask, other=0).to(tl.int32)
    keep = ((eight >> (bit % 8).to(tl.int32)) & 1) != 0
    x = tl.load(X + i, mask=mask, other=0).to(ACC)
    y = tl.where(keep & (FACTOR > 0), x * FACTOR, 0.0)
    tl.store(Y + i, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=mask)


@triton.jit
def turned(x, R: tl.constexpr):
    return (x << R) | (x >> (32 - R))


@triton.jit
def four(x0, x1, A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, D: tl.constexpr):
    """Four rounds of Threefry."""
    x0 += x1
    x1 = turned(x1, A) ^ x0
    x0 += x1
    x1 = turned(x1, B) ^ x0
    x0 += x1
    x1 = turned(x1, C) ^ x0
    x0 += x1
    x1 = turned(x1, D) ^ x0
    return x0, x1


@triton.jit
def word(k0, k1, high, low):
    """The 32 random bits of a key (two words) at the counters (high, low): 20 rounds."""
    k2 = k0 ^ k1 ^ PARITY_WORD
    x0, x1 = high + k0, low + k1
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    x0, x1 = x0 + k1, x1 + (k2 + 1)
    x0, x1 = four(x0, x1, R4, R5, R6, R7)
    x0, x1 = x0 + k2, x1 + (k0 + 2)
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    x0, x1 = x0 + k0, x1 + (k1 + 3)
    x0, x1 = four(x0, x1, R4, R5, R6, R7)
    x0, x1 = x0 + k1, x1 + (k2 + 4)
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    return (x0 + k2) ^ (x1 + (k0 + 5))


@triton.jit
def eights(KEY, byte, N, LEAST, BLOCK: tl.constexpr):
    """The mask of a key at bytes of it: one thread draws the eight bits of a byte."""
    k0, k1 = tl.load(KEY), tl.load(KEY + 1)
    least = tl.full((), LEAST, tl.int32).to(tl.uint32, bitcast=True)
    high, low = (byte >> 29).to(tl.uint32), (byte << 3).to(tl.uint32)
    eight = tl.full((BLOCK,), 0, tl.int32)
    for place in tl.static_range(8):
        eight |= tl.where(word(k0, k1, high, low + place) >= least, 1 << place, 0)
    last = tl.where(byte * 8 + 8 > N, N - byte * 8, 8).to(tl.int32)
    return eight & ((1 << last) - 1)


@triton.jit
def bits_kernel(KEY, BITS, N, LEAST, BLOCK: tl.constexpr):
    byte = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    eight = eights(KEY, byte, N, LEAST, BLOCK)
    tl.store(BITS + byte, eight.to(tl.uint8), mask=byte * 8 < N)


@triton.jit
def drawn_kernel(
    X, KEY, BITS, Y, N, LEAST, FACTOR: tl.constexpr, BY_HAND: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    byte = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    place = tl.arange(0, 8)[None, :]
    i = byte[:, None] * 8 + place
    x = tl.load(X + i, mask=i < N, other=0).to(ACC)
    eight = eights(KEY, byte, N, LEAST, BLOCK)
    tl.store(BITS + byte, eight.to(tl.uint8), mask=byte * 8 < N)
    y = tl.where(((eight[:, None] >> place) & 1) != 0, x * FACTOR, 0.0)
    tl.store(Y + i, rounded(y, BY_HAND).to(Y.dtype.element_ty), mask=i < N)


def refuses(arrays, dims):
    x, _ = arrays
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    if x.dtype not in TYPES:
        return f"x is {x.dtype}"
    return "x has no elements" if x.numel() == 0 else None


def meta(x, p):
    return {
        "FACTOR": 0.0 if p == 1 else 1 / (1 - p),
        "BY_HAND": x.device.type == "cpu" and x.dtype == torch.bfloat16,
        "ACC": tl.float64 if x.dtype == torch.float64 else tl.float32,
    }


def masked(x, bits, p, broadcast_dims):
    """x / (1 - p) where the mask keeps, else 0. The kernel wants dims that share a bit last."""
    x, each, back = _opaque.sharing_last(x, broadcast_dims)
    x, bits = _opaque.readable(x), _opaque.readable(bits)
    y = torch.empty_like(x)
    _launch.run(
        masked_kernel, (triton.cdiv(x.numel(), BLOCK),), x,
        x, bits, y, x.numel(), each, BLOCK=BLOCK, **meta(x, p),
    )  # fmt: skip
    return back(y)


def forward(x, bits, *, p, broadcast_dims):
    return masked(x, bits, p, broadcast_dims), ()


def backward(dy, arrays, residuals, needs, *, p, broadcast_dims):
    # dx = dy / (1 - p) where the mask keeps, else 0
    return masked(dy, arrays[1], p, broadcast_dims), None


def refuses_key(key, count):
    """None, or why the mask of this key for `count` elements is not drawn here."""
    if (reason := _launch.refuses((key,))) is not None:
        return reason
    if key.dtype != torch.uint32 or key.shape != (2,) or count == 0:
        return "the key is not uint32 (2,), or there is nothing to draw"
    return None


def keep_bits(key, count, least):
    """The packed mask of a key (uint32 (2,)): a word below `least` drops its element."""
    if least == 2**32:
        return torch.zeros(-(-count // 8), dtype=torch.uint8, device=key.device)
    bits = torch.empty(-(-count // 8), dtype=torch.uint8, device=key.device)
    _launch.run(
        bits_kernel, (triton.cdiv(len(bits), BYTES),), key,
        _opaque.readable(key), bits, count, as_signed(least), BLOCK=BYTES,
    )  # fmt: skip
    return bits


def drawn(x, key, p, least):
    """(x / (1 - p) where the mask of the key keeps, else 0, the mask): p below 1."""
    x = _opaque.readable(x)
    y, count = torch.empty_like(x), x.numel()
    bits = torch.empty(-(-count // 8), dtype=torch.uint8, device=key.device)
    _launch.run(
        drawn_kernel, (triton.cdiv(len(bits), DRAWN),), x,
        x, _opaque.readable(key), bits, y, count, as_signed(least), BLOCK=DRAWN, **meta(x, p),
    )  # fmt: skip
    return y, bits


def as_signed(word):
    """An unsigned word as Triton passes 32 bits."""
    return word - 2**32 if word >= 2**31 else word
