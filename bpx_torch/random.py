"""Counter-based random numbers for PyTorch, bit for bit those of bpx.random and of jax.random.

Runs on the key's device and holds no state. The layout and the sources are in bpx/random.py.
A key is a uint32 tensor of shape (2,); an int seed and NumPy key data (of a JAX key, too) will do,
then `device` says where to draw.
"""

import itertools
import math

import numpy as np
import torch

from bpx import _giles
from bpx.random import (
    MASK,
    PARITY,
    ROTATIONS,
    checked_data,
    checked_shape,
    checked_width,
    key_words,
    seed_words,
)
from bpx.spec import require

UNSIGNED = {8: torch.uint8, 16: torch.uint16, 32: torch.uint32, 64: torch.uint64}


def key(seed, device=None):
    """The key of a seed in -2**63 <= seed < 2**64: uint32 (2,).

    >>> key(7)
    tensor([0, 7], dtype=torch.uint32)
    """
    return torch.tensor(seed_words(seed), dtype=torch.uint32, device=device)


def split(key, n=2, device=None):
    """New keys: uint32 (n, 2), or (*n, 2) for a tuple."""
    shape = checked_shape(n if isinstance(n, tuple | list) else (n,))
    pair = torch.stack(_pair(_words(key, device), math.prod(shape)), dim=-1)
    return _unsigned(pair, 32).reshape(*shape, 2)


def fold_in(key, data, device=None):
    """A new key from a key and an integer in 0 <= data < 2**32: uint32 (2,)."""
    words = _words(key, device)
    low = torch.tensor([checked_data(data)], device=words.device).to(torch.int32)
    return _unsigned(torch.cat(_threefry(words, torch.zeros_like(low), low)), 32)


def bits(key, shape, width=32, device=None):
    """Random unsigned integers of 8, 16, 32 or 64 bits."""
    shape, width = checked_shape(shape), checked_width(width)
    word = _signed(_words(key, device), math.prod(shape), width)
    return _unsigned(word, width).reshape(shape)


def words(key, rows, columns, device=None):
    """The 32 random bits at every row and column, as int32 in two's complement: the bits of
    bpx.random.words. rows and columns are integers of two shapes that broadcast."""
    counters = torch.broadcast_tensors(rows, columns)
    # above 2^31 a cast keeps no defined bits: sign the 32 bits first
    signed = (((c.flatten() & MASK) ^ (1 << 31)) - (1 << 31) for c in counters)
    y0, y1 = _threefry(_words(key, device), *(c.to(torch.int32) for c in signed))
    return (y0 ^ y1).reshape(counters[0].shape)


def uniform(key, shape, dtype=torch.float32, minval=0.0, maxval=1.0, device=None):
    """Uniform in [minval, maxval), float32 or float64."""
    u = _unit(key, shape, dtype, device)
    low, high = (torch.tensor(v, dtype=dtype, device=u.device) for v in (minval, maxval))
    if minval == 0 and maxval == 1:
        return u
    return torch.maximum(low, _fused(u, high - low, low))


def bernoulli(key, p=0.5, shape=(), dtype=torch.float32, device=None):
    """True with probability p: uniform(key, shape, dtype) < p in that dtype."""
    u = uniform(key, shape, dtype, device=device)
    return u < torch.as_tensor(p, dtype=dtype, device=u.device)


def normal(key, shape, dtype=torch.float32, device=None):
    """Standard normal, float32 or float64, within 3 ulp of bpx.random.normal in float32.

    sqrt(2) erfinv(u) for u uniform in (-1, 1), by the polynomials of `bpx._giles`.
    """
    # 1 - low rounds to 2, and low is the first number above -1
    low = -1.0 + 2.0 ** (-24 if dtype == torch.float32 else -53)
    u = 2 * _unit(key, shape, dtype, device) + low
    w = -torch.log1p(-u * u)
    pieces = _giles.FLOAT32 if dtype == torch.float32 else _giles.FLOAT64
    ratio = _polynomial(pieces[0], w)
    for before, piece in itertools.pairwise(pieces):
        ratio = torch.where(w < before.limit, ratio, _polynomial(piece, w.sqrt()))
    # the constant is rounded to the dtype, as in NumPy
    return u * ratio * torch.tensor(math.sqrt(2.0), dtype=dtype, device=u.device)


def _polynomial(piece, w):
    x = w - piece.shift
    p = torch.full_like(x, piece.coefficients[0])
    for c in piece.coefficients[1:]:
        p = p * x + torch.tensor(c, dtype=x.dtype, device=x.device)
    return p


def _words(key, device):
    """The key as int64 (2,) on the device to draw on."""
    if not isinstance(key, torch.Tensor):
        return torch.tensor(key_words(key), dtype=torch.int64, device=device)
    known = key.shape[-1:] == (2,) and key.dtype == torch.uint32 and key.dim() == 1
    require(
        known,
        f"random: key is {key.dtype} of shape {tuple(key.shape)}, expected uint32 of shape (2,) "
        "or a seed",
    )
    return key.to(device=device, dtype=torch.int64)


def _pair(words, n):
    counter = torch.arange(n, device=words.device)
    return _threefry(words, (counter >> 32).to(torch.int32), counter.to(torch.int32))


def _unsigned(word, width):
    """The lowest bits, masked first: what a cast makes of a number out of range is not defined.
    vmap of torch 2.11 has no rule for another look at the same bits."""
    if width == 64:
        return word.view(UNSIGNED[width])
    return (word.to(torch.int64) & ((1 << width) - 1)).to(UNSIGNED[width])


def _signed(words, n, width):
    """n random words as int32, or int64 for 64 bits, in two's complement."""
    y0, y1 = _pair(words, n)
    if width == 64:
        return y0.to(torch.int64) << 32 | y1.to(torch.int64) & MASK
    return y0 ^ y1


def _unit(key, shape, dtype, device):
    shape = checked_shape(shape)
    known = dtype in (torch.float32, torch.float64)
    require(known, f"random: dtype is {dtype}, expected float32 or float64")
    words, n = _words(key, device), math.prod(shape)
    kept = 23 if dtype == torch.float32 else 52  # bits of a mantissa: the product is exact
    width = 32 if dtype == torch.float32 else 64
    word = _signed(words, n, width) >> (width - kept)
    return (word & ((1 << kept) - 1)).to(dtype).reshape(shape) * 2.0**-kept


# An operator of its own: inductor does not come to an end on the unrolled rounds.
@torch.library.custom_op("bpx::threefry2x32", mutates_args=())
def _threefry(
    words: torch.Tensor, x0: torch.Tensor, x1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """20 rounds on int32 words, of which additions wrap; `words` is int64 (..., 2)."""
    k0, k1 = words[..., 0:1], words[..., 1:2]
    ks = tuple(k.to(torch.int32) for k in (k0, k1, k0 ^ k1 ^ PARITY))
    x0, x1 = x0 + ks[0], x1 + ks[1]
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x0 += x1
            low = (x1 >> (32 - r)).bitwise_and_((1 << r) - 1)  # >> copies the sign
            x1 = x1.bitwise_left_shift_(r).bitwise_or_(low).bitwise_xor_(x0)
        x0 += ks[(i + 1) % 3]
        x1 += ks[(i + 2) % 3] + (i + 1)
    return x0, x1


@_threefry.register_fake
def _(words, x0, x1):
    shape = torch.broadcast_shapes((*words.shape[:-1], 1), x0.shape)
    return tuple(words.new_empty(shape, dtype=torch.int32) for _ in range(2))


@_threefry.register_vmap
def _(info, dims, words, *x):
    # counters are made here and never batched
    return _threefry(words.movedim(dims[0], 0), *x), (0, 0)


def _fused(a, b, c):
    """a * b + c with one rounding, as in bpx.random."""
    if a.dtype == torch.float32:
        return _add_to_odd(a.double() * b.double(), c.double()).float()
    product, rest = _two_product(a, b)
    high, low = _two_sum(c, rest)
    total, error = _two_sum(product, high)
    return total + _add_to_odd(low, error)


def _two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a, b):
    p = a * b
    a1, b1 = (x * 134217729.0 - (x * 134217729.0 - x) for x in (a, b))
    a2, b2 = a - a1, b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _add_to_odd(a, b):
    s, error = _two_sum(a, b)
    moves = (error != 0) & (s.view(torch.int64) & 1 == 0)
    return torch.where(moves, torch.nextafter(s, error.sign() * np.inf), s)
