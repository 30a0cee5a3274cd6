"""cosine_similarity for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/layers/cosine_similarity.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi, _losses


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def sizes(x1):
    return math.prod(x1.shape[:-1]), x1.shape[-1], 0


def forward(x1, x2, *, eps):
    dtype = x1.dtype
    given, made = (x1, x2.astype(dtype), None), ((x1.shape[:-1], dtype),)
    (y,) = _ffi.call("cosine_forward", dtype, given, made, sizes(x1), (eps, 0.0), fold=0)
    return y, ()


def backward(dy, arrays, residuals, needs, *, eps):
    x1, x2 = arrays
    dtype = x1.dtype
    given = (dy.astype(dtype), x1, x2.astype(dtype), None)
    made = (*((x1.shape, dtype) if need else None for need in needs), None)
    found = _ffi.call("cosine_backward", dtype, given, made, sizes(x1), (eps, 0.0), fold=0)
    return found[:2]
