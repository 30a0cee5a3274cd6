"""dropout for JAX on the CPU, on XLA's own threads, and the mask of a key. Maths, shapes and
source: bpx/layers/dropout.py."""

import math

import jax.numpy as jnp

from bpx_jax.kernels.cpu import _ffi


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def masked(x, bits, p, broadcast_dims):
    """x / (1 - p) where the mask keeps, else 0. The kernel wants dims that share a bit last."""
    shared = sorted({d % x.ndim for d in broadcast_dims})
    own = [d for d in range(x.ndim) if d not in shared]
    x = x.transpose(*own, *shared)
    each = math.prod(x.shape[len(own) :])
    factor = 0.0 if p == 1 else 1 / (1 - p)
    sizes, result = (math.prod(x.shape), each), (x.shape, x.dtype)
    y = _ffi.call("dropout", x.dtype, (x, bits), (result,), sizes, (factor,))[0]
    places = [*own, *shared]
    return y.transpose([places.index(d) for d in range(y.ndim)])


def forward(x, bits, *, p, broadcast_dims):
    return masked(x, bits, p, broadcast_dims), ()


def backward(dy, arrays, residuals, needs, *, p, broadcast_dims):
    return masked(dy, arrays[1], p, broadcast_dims), None


def refuses_key(count):
    """None, or why a mask of `count` elements is not drawn here."""
    return "there is nothing to draw" if count == 0 else _ffi.elsewhere() or _ffi.available()


def keep_bits(data, count, least):
    """The packed mask of a key's data (uint32 (2,)): a word below `least` drops its element."""
    result = ((-(-count // 8),), jnp.uint8)
    return _ffi.call("keep_bits", jnp.uint8, (data,), (result,), (count, least))[0]
