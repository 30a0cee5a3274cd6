"""What the passes of attention share in Triton: which blocks are looked at, and the scores of one.

A score leaves here ready for the exponential: exp2 with 16-bit arguments, whose scores carry the
factor log2(e), exp with wider ones. `fold` is the factor that is left for the exponent, where it
goes into one fused multiply and add; 1 where a softcap or a bias has to come after the factor.
"""

import math

import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice

from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton._rows import present, rounded
from bpx_torch.kernels.triton.dropout import word

LOG2E = math.log2(math.e)
STEP = 2**22  # elements from a row to the next, so that those of a block are counted in 31 bits


@triton.jit
def spans(
    start, N, M, BEFORE, AFTER, HAS_BEFORE: tl.constexpr, HAS_AFTER: tl.constexpr,
    EVERY: tl.constexpr, BLOCK: tl.constexpr, OTHER: tl.constexpr,
):  # fmt: skip
    """Of the block [start, start + BLOCK) of N places, each of which sees BEFORE and AFTER it, the
    blocks of OTHER of M places: (first, from where on all see all, up to where, end). EVERY: none
    is to be taken as seen wholly."""
    last = tl.minimum(start + BLOCK, N) - 1
    low, full = start * 0, start * 0
    high, whole = low + M, low + M
    if HAS_BEFORE:
        low = tl.maximum(start - BEFORE, 0) // OTHER * OTHER
        full = (tl.maximum(last - BEFORE, 0) + OTHER - 1) // OTHER * OTHER
    if HAS_AFTER:
        high = tl.minimum(last + AFTER + 1, M)
        whole = tl.minimum(start + AFTER + 1, M)
    if EVERY:
        return low, low, low, high
    full = tl.minimum(tl.maximum(full, low), high)
    whole = tl.maximum(tl.minimum(whole // OTHER * OTHER, high), full)
    return low, full, whole, high


@triton.jit
def block(
    A, at, inside, columns, MASKED: tl.constexpr, UNEVEN: tl.constexpr, BY_HAND: tl.constexpr
):
    """A block of an array: rows within where MASKED, columns within where UNEVEN, else 0."""
    if MASKED and UNEVEN:
        a = tl.load(A + at, mask=inside & columns, other=0)
    elif MASKED:
        a = tl.load(A + at, mask=inside, other=0)
    elif UNEVEN:
        a = tl.load(A + at, mask=columns, other=0)
    else:
        a = tl.load(A + at)
    if BY_HAND:
        a = a.to(tl.float32)
    return a


@triton.jit
def narrowed(v, LIKE: tl.constexpr, BY_HAND: tl.constexpr):
    """v in the type of the arguments, for the next product; in the interpreter, which multiplies
    bfloat16 as integers, its values in float32."""
    v = rounded(v, BY_HAND)
    if not BY_HAND:
        v = v.to(LIKE)
    return v


@triton.jit
def power(x, WIDE: tl.constexpr):
    if WIDE:
        x = libdevice.exp(x)
    else:
        x = tl.exp2(x)
    return x


@triton.jit
def scores(
    z, i, j, T, S, BIAS, bt, bs, MASK, mt, ms, LEFT, RIGHT, MASKED: tl.constexpr,
    HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr,
    FACTOR: tl.constexpr, CAP: tl.constexpr, UNIT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """(s, tanh or z) of the products z at queries i and keys j, one of them a column; -inf where
    MASKED and hidden."""
    if FACTOR != 1:
        z *= FACTOR
    s, t = z, z
    if CAP != 0:
        if WIDE:
            t = libdevice.tanh(z)
        else:
            t = 1 - 2 / (tl.exp2(z * 2.8853900817779268) + 1)
        s = t * CAP
    inside = (i < T) & (j < S)
    if HAS_BIAS:
        at = i.to(tl.int64) * bt + j.to(tl.int64) * bs
        s += tl.load(BIAS + at, mask=inside, other=0).to(s.dtype) * UNIT
    if MASKED:
        if HAS_LEFT:
            inside = inside & (j >= i - LEFT)
        if HAS_RIGHT:
            inside = inside & (j <= i + RIGHT)
        if HAS_MASK:
            at = i.to(tl.int64) * mt + j.to(tl.int64) * ms
            inside = inside & (tl.load(MASK + at, mask=inside, other=0) != 0)
        s = tl.where(inside, s, float("-inf"))
    return s, t


@triton.jit
def kept(KEY, head, T, i, j, LEAST):
    """Where dropout keeps: by the random bits at row head T + i and column j."""
    row = (head.to(tl.int64) * T + i).to(tl.uint32)
    bits = word(tl.load(KEY), tl.load(KEY + 1), row + j.to(tl.uint32) * 0, j.to(tl.uint32))
    return bits.to(tl.int64) >= LEAST


@triton.jit
def pulled(
    z, dp, top, mass, delta, i, j, head, T, S, BIAS, bt, bs, MASK, mt, ms, KEY, LEFT, RIGHT, LEAST,
    MASKED: tl.constexpr, FACTOR: tl.constexpr, CAP: tl.constexpr, UNIT: tl.constexpr,
    FOLD: tl.constexpr, HAS_DROP: tl.constexpr, HAS_LEFT: tl.constexpr,
    HAS_RIGHT: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_MASK: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """(w, ds, dz) of a block: p after dropout, and the gradients behind and before the softcap,
    without dropout's factor, which 16 bits may not hold. `top` of 16-bit arguments has mass in it
    and the factor log2(e)."""
    s, t = scores(
        z, i, j, T, S, BIAS, bt, bs, MASK, mt, ms, LEFT, RIGHT, MASKED, HAS_LEFT, HAS_RIGHT,
        HAS_BIAS, HAS_MASK, FACTOR, CAP, UNIT, WIDE,
    )  # fmt: skip
    if WIDE:
        p = power(s - top - mass, WIDE)
    else:
        p = power(s * FOLD - top, WIDE)
    w = p
    if HAS_DROP:
        keep = kept(KEY, head, T, i, j, LEAST)
        w, dp = tl.where(keep, p, 0.0), tl.where(keep, dp, 0.0)
    ds = p * (dp - delta)
    dz = ds
    if CAP != 0:
        dz = ds * (1 - t * t)
    return w, ds, dz


def settled(a):
    """With every pending operation done, in any layout."""
    return a.clone() if a._is_zerotensor() else a.resolve_neg()


def rows(a, dtype=None):
    """What a kernel reads as rows: elements side by side, anything between rows."""
    if a is None:
        return None
    a = a if dtype is None else a.to(dtype)
    a = settled(a)
    side_by_side = a.shape[-1] == 1 or a.stride(-1) == 1
    return a if side_by_side and 0 <= a.stride(-2) <= STEP else a.contiguous()


def like(a, columns):
    """An empty array of the shape of `a` but in its last dim, heads inside where `a` has them."""
    b, h, t, _ = a.shape
    if a.stride(1) < a.stride(2):
        return a.new_empty((b, t, h, columns)).transpose(1, 2)
    return a.new_empty((b, h, t, columns))


def strides(a):
    """Steps of (B, H, T, S), 0 in a dim of size 1."""
    if a is None:
        return 0, 0, 0, 0
    return tuple(0 if n == 1 else s for n, s in zip(a.shape, a.stride(), strict=True))


class Call:
    """The arguments and constants that all kernels of one call have."""

    def __init__(self, query, key, value, bias, mask, dropout_key, options):
        self.query, self.key, self.value = (rows(a) for a in (query, key, value))
        self.bias = None if bias is None else settled(bias)
        q, k, v = self.query, self.key, self.value
        (b, h, t, d), (groups_of, s), e = q.shape, k.shape[1:3], v.shape[3]
        self.batch, self.heads, self.sizes = b, h, (t, s, d, e)
        self.groups = h // groups_of
        left, right = options["window"] or (None, None)
        right = 0 if options["causal"] else right
        far = t + s
        p = options["dropout_p"]
        mask = None if mask is None else mask.view(torch.uint8)
        key_words = q if p == 0 else _opaque.readable(dropout_key)
        self.arguments = (
            present(self.bias, q), present(mask, q), key_words, h, self.groups, t, s,
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *strides(self.bias), *strides(mask),
            min(left or 0, far), min(right or 0, far), round(p * 2**32),
        )  # fmt: skip
        self.wide = q.element_size() > 2
        scale = options["scale"]
        self.scale = scale = 1 / math.sqrt(d) if scale is None else float(scale)
        c, unit = options["softcap"], 1.0 if self.wide else LOG2E
        self.prescale = scale if self.wide else 1.0
        rest = 1.0 if self.wide else scale
        fold = rest * unit if c is None and bias is None and rest > 0 else 1.0
        self.constants = {
            "PRESCALE": self.prescale,
            "FACTOR": rest / c if c is not None else rest * unit / fold,
            "CAP": 0.0 if c is None else c * unit,
            "UNIT": unit,
            "FOLD": fold,
            "DROP": 1.0 if p == 1 else 1 / (1 - p),  # of 1 nothing is kept
            "HAS_DROP": p != 0,
            "HAS_LEFT": left is not None,
            "HAS_RIGHT": right is not None,
            "HAS_BIAS": bias is not None,
            "HAS_MASK": mask is not None,
            "WIDE": self.wide,
            "PRECISION": precision() if q.dtype == torch.float32 else "ieee",
            "ACC": tl.float64 if q.dtype == torch.float64 else tl.float32,
            "BY_HAND": q.device.type == "cpu" and q.dtype == torch.bfloat16,
            "D": d,
            "E": e,
            "DB": max(triton.next_power_of_2(d), 16),
            "EB": max(triton.next_power_of_2(e), 16),
        }


def precision():
    """How products in float32 are taken: of TF32 where torch's own setting says so, else in
    float32. Three TF32 products of the factors' parts take a quarter of its time, but do not hold
    the digits that backward's differences need."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"
