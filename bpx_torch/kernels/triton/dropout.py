"""dropout for torch on a GPU, in Triton, and the mask of a key. Maths, shapes and source:
bpx/layers/dropout.py; the random bits are those of bpx/random.py."""

import torch
import triton
import triton.language as tl

from bpx.random import PARITY, ROTATIONS
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _launch
from bpx_torch.kernels.triton._launch import add
from bpx_torch.kernels.triton._rows import TYPES, rounded

BLOCK = 1024
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
def words(k0, k1, i):
    """The 32 random bits of a key (two words) at the counters i."""
    return word(k0, k1, (i >> 32).to(tl.uint32), i.to(tl.uint32))


@triton.jit
def word(k0, k1, high, low):
    """The 32 random bits of a key (two words) at the counters (high, low): 20 rounds."""
    k2 = k0 ^ k1 ^ PARITY_WORD
    x0, x1 = high + k0, low + k1
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    x0, x1 = x0 + k1, x1 + k2 + 1
    x0, x1 = four(x0, x1, R4, R5, R6, R7)
    x0, x1 = x0 + k2, x1 + k0 + 2
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    x0, x1 = x0 + k0, x1 + k1 + 3
    x0, x1 = four(x0, x1, R4, R5, R6, R7)
    x0, x1 = x0 + k1, x1 + k2 + 4
    x0, x1 = four(x0, x1, R0, R1, R2, R3)
    x0, x1 = x0 + k2, x1 + k0 + 5
    return x0 ^ x1


@triton.jit
def bits_kernel(KEY, BITS, N, LEAST, BLOCK: tl.constexpr):
    byte = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    place = tl.arange(0, 8)[None, :]
    i = byte[:, None] * 8 + place
    k0, k1 = tl.load(KEY), tl.load(KEY + 1)
    keep = (words(k0, k1, i).to(tl.int64) >= LEAST) & (i < N)
    eight = tl.reduce(keep.to(tl.int32) << place, 1, add)
    tl.store(BITS + byte, eight.to(tl.uint8), mask=byte * 8 < N)


def refuses(arrays, dims):
    x, _ = arrays
    if (reason := _launch.refuses(arrays)) is not None:
        return reason
    if x.dtype not in TYPES:
        return f"x is {x.dtype}"
    return "x has no elements" if x.numel() == 0 else None


def masked(x, bits, p, broadcast_dims):
    """x / (1 - p) where the mask keeps, else 0. The kernel wants dims that share a bit last."""
    x, each, back = _opaque.sharing_last(x, broadcast_dims)
    x, bits = _opaque.readable(x), _opaque.readable(bits)
    y = torch.empty_like(x)
    _launch.run(
        masked_kernel, (triton.cdiv(x.numel(), BLOCK),), x,
        x, bits, y, x.numel(), each, FACTOR=0.0 if p == 1 else 1 / (1 - p), BLOCK=BLOCK,
        BY_HAND=x.device.type == "cpu" and x.dtype == torch.bfloat16,
        ACC=tl.float64 if x.dtype == torch.float64 else tl.float32,
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
    bits = torch.empty(-(-count // 8), dtype=torch.uint8, device=key.device)
    _launch.run(
        bits_kernel, (triton.cdiv(len(bits), BLOCK // 8),), key,
        _opaque.readable(key), bits, count, least, BLOCK=BLOCK // 8,
    )  # fmt: skip
    return bits
