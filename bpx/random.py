"""Counter-based random numbers, bit for bit those of jax.random, in NumPy.

    key            (k0, k1) uint32
    y0, y1         = threefry2x32(key, i >> 32, i & 0xffffffff)     i = 0, 1, ... in row-major order
    bits           = y0 ^ y1 (its low 8 or 16 bits), or y0 << 32 | y1 for 64
    uniform        = the top bits as a mantissa, 1.mantissa - 1
    split(key, n)  = (y0, y1) of i = 0 ... n - 1;   fold_in(key, d) = (y0, y1) of i = d

This is the layout of jax_threefry_partitionable, JAX's default: element i needs nothing but i.
A key is used once: two draws from one key are the same numbers. Every function takes for `key` a
uint32 array of shape (2,), an int seed, or the key data of a typed JAX key.

Source: Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", SC'11,
Threefry-2x32 with 20 rounds; the layout is jax/_src/random/threefry2x32.py.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx import _giles
from bpx.spec import require

Array = NDArray[Any]
Shape = tuple[int, ...]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
MASK = 0xFFFFFFFF
WIDTHS = (8, 16, 32, 64)
_CHUNK = 1 << 15  # elements at a time: the temporaries of one chunk stay in the L2 cache


def key(seed: int) -> Array:
    """The key of a seed in -2**63 <= seed < 2**64: uint32 (2,), high word first.

    Equals jax.random.key(seed) for 0 <= seed < 2**32, and for every int64 seed under jax_enable_x64
    (without it JAX drops the high word).

    >>> key(7)
    array([0, 7], dtype=uint32)
    """
    return np.array(seed_words(seed), np.uint32)


def seed_words(seed: Any) -> tuple[int, int]:
    """The two words of a seed's key."""
    known = isinstance(seed, Integral) and -(1 << 63) <= int(seed) < 1 << 64
    require(known, f"random: seed is {seed!r}, expected an int in -2**63 <= seed < 2**64")
    return (int(seed) >> 32) & MASK, int(seed) & MASK


def key_words(key: Any) -> tuple[int, int]:
    """The two words of a key or seed."""
    if isinstance(key, Integral):
        return seed_words(key)
    words = np.asarray(key)
    require(
        words.shape == (2,) and words.dtype == np.uint32,
        f"random: key is {words.dtype} of shape {words.shape}, expected uint32 of shape (2,) "
        "or a seed",
    )
    return int(words[0]), int(words[1])


def threefry2x32(key: Any, x0: Array, x1: Array) -> tuple[Array, Array]:
    """The block cipher: 20 rounds on pairs of uint32 words, elementwise."""
    k0, k1 = key_words(key)
    ks = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = x0 + np.uint32(k0), x1 + np.uint32(k1)
    low = np.empty_like(x1)
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x0 += x1
            np.right_shift(x1, 32 - r, out=low)
            x1 <<= r
            x1 |= low
            x1 ^= x0
        x0 += np.uint32(ks[(i + 1) % 3])
        x1 += np.uint32((ks[(i + 2) % 3] + i + 1) & MASK)
    return x0, x1


def _pair(key: Any, start: int, stop: int) -> tuple[Array, Array]:
    counter = np.arange(start, stop, dtype=np.uint64)
    return threefry2x32(key, (counter >> 32).astype(np.uint32), counter.astype(np.uint32))


def split(key: Any, n: Any = 2) -> Array:
    """New keys: uint32 (n, 2), or (*n, 2) for a tuple."""
    shape = checked_shape((n,) if isinstance(n, Integral) else n)
    return np.stack(_pair(key, 0, math.prod(shape)), axis=-1).reshape(*shape, 2)


def fold_in(key: Any, data: int) -> Array:
    """A new key from a key and an integer in 0 <= data < 2**32: uint32 (2,)."""
    return np.concatenate(_pair(key, checked_data(data), int(data) + 1))


def bits(key: Any, shape: Shape, width: int = 32) -> Array:
    """Random unsigned integers of 8, 16, 32 or 64 bits."""
    shape, width = checked_shape(shape), checked_width(width)
    out = np.empty(math.prod(shape), f"u{width // 8}")
    for start in range(0, out.size, _CHUNK):
        stop = min(start + _CHUNK, out.size)
        y0, y1 = _pair(key, start, stop)
        if width == 64:
            out[start:stop] = y0.astype(np.uint64) << np.uint64(32) | y1
        else:
            out[start:stop] = (y0 ^ y1).astype(out.dtype)  # keeps the low bits
    return out.reshape(shape)


def words(key: Any, rows: Any, columns: Any) -> Array:
    """y0 ^ y1 of threefry2x32(key, row, column): 32 bits at every place of a matrix, from integers
    of two shapes that broadcast, modulo 2**32. Any block of a large matrix is drawn alone."""
    at = ((a & MASK).astype(np.uint32) for a in np.broadcast_arrays(rows, columns))
    return np.bitwise_xor(*threefry2x32(key, *at))


def uniform(
    key: Any, shape: Shape, dtype: Any = np.float32, minval: float = 0.0, maxval: float = 1.0
) -> Array:
    """Uniform in [minval, maxval), float32 or float64.

    minval + u * (maxval - minval) is rounded once, as XLA does where there is a fused multiply-add.
    """
    dtype = checked_dtype(dtype)
    u = _unit(key, shape, dtype)
    low, high = dtype.type(minval), dtype.type(maxval)
    if low == 0 and high == 1:
        return u
    out = u.reshape(-1)
    for start in range(0, out.size, _CHUNK):
        part = out[start : start + _CHUNK]
        part[:] = np.maximum(low, _fused(part, high - low, low, dtype))
    return out.reshape(shape)


def bernoulli(key: Any, p: Any = 0.5, shape: Shape = (), dtype: Any = np.float32) -> Array:
    """True with probability p: uniform(key, shape, dtype) < p in that dtype."""
    return np.asarray(uniform(key, shape, dtype) < np.asarray(p, dtype))


def normal(key: Any, shape: Shape, dtype: Any = np.float32) -> Array:
    """Standard normal, float32 or float64, within 3 ulp of jax.random.normal in float32 and 32 in
    float64 (2, but for a range where XLA's log1p is off).

    sqrt(2) erfinv(u) for u uniform in (-1, 1), by the polynomials of `bpx._giles`.
    """
    dtype = checked_dtype(dtype)
    low = np.nextafter(dtype.type(-1), dtype.type(0))
    u = 2 * _unit(key, shape, dtype) + low  # uniform(low, 1): 1 - low rounds to 2
    pieces = _giles.FLOAT32 if dtype == np.float32 else _giles.FLOAT64
    out = u.reshape(-1)
    for start in range(0, out.size, _CHUNK):
        out[start : start + _CHUNK] *= _erfinv_over_u(out[start : start + _CHUNK], pieces)
    out *= dtype.type(math.sqrt(2.0))
    return np.asarray(out.reshape(shape))


def _unit(key: Any, shape: Shape, dtype: np.dtype[Any]) -> Array:
    if dtype == np.float32:
        word = bits(key, shape, 32) >> np.uint32(9) | np.uint32(0x3F800000)
        return word.view(np.float32) - np.float32(1)
    word = bits(key, shape, 64) >> np.uint64(12) | np.uint64(0x3FF0000000000000)
    return word.view(np.float64) - 1.0


def _erfinv_over_u(u: Array, pieces: tuple[_giles.Piece, ...]) -> Array:
    w = -np.log1p(-u * u)
    out = np.empty_like(u)
    low = -1.0
    for n, piece in enumerate(pieces):
        at = (w >= low) & (w < piece.limit)
        x = (w[at] if n == 0 else np.sqrt(w[at])) - u.dtype.type(piece.shift)
        p = np.full_like(x, piece.coefficients[0])
        for c in piece.coefficients[1:]:
            p *= x
            p += u.dtype.type(c)
        out[at] = p
        low = piece.limit
    return out


def _fused(a: Array, b: Any, c: Any, dtype: np.dtype[Any]) -> Array:
    """a * b + c with one rounding. Source: Boldo, Melquiond 2008, IEEE Trans. Computers 57(4)."""
    if dtype == np.float32:
        product = a.astype(np.float64) * b  # exact: 24 + 24 bits
        return _add_to_odd(product, np.float64(c)).astype(np.float32)
    product, rest = _two_product(a, b)
    high, low = _two_sum(np.asarray(c), rest)
    total, error = _two_sum(product, high)
    return np.asarray(total + _add_to_odd(low, error))


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b and its rounding error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a * b and its rounding error, from halves of 26 bits (Dekker, Veltkamp)."""
    p = a * b
    a1, b1 = (x * 134217729.0 - (x * 134217729.0 - x) for x in (a, b))
    a2, b2 = a - a1, b - b1
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _add_to_odd(a: Any, b: Any) -> Array:
    """a + b rounded to odd: rounded again, to fewer bits, it is the exact sum rounded once."""
    s, error = _two_sum(a, b)
    even = np.asarray(s).view(np.int64) % 2 == 0
    beside = np.nextafter(s, np.copysign(np.inf, error))
    return np.asarray(np.where((error != 0) & even, beside, s))


def checked_shape(shape: Any) -> Shape:
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (None,)
    require(
        all(isinstance(n, Integral) and int(n) >= 0 for n in sizes),
        f"random: shape is {shape!r}, expected a tuple of sizes at least 0",
    )
    return tuple(int(n) for n in sizes if n is not None)


def checked_width(width: Any) -> int:
    require(width in WIDTHS, f"random: width is {width!r}, expected one of {list(WIDTHS)}")
    return int(width)


def checked_data(data: Any) -> int:
    known = isinstance(data, Integral) and 0 <= int(data) <= MASK
    require(known, f"random: data is {data!r}, expected an int in 0 <= data < 2**32")
    return int(data)


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    known: np.dtype[Any] = np.dtype(dtype)
    ok = known in (np.float32, np.float64)
    require(ok, f"random: dtype is {known}, expected float32 or float64")
    return known
