"""attention for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

A block of scores stays in cache between the products that make and use it. A bias and dropout are
the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import numpy as np

from bpx.native.attention import arguments, steps, strides
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _ffi.refuses(arrays)


def _sizes(query, key, value, mask, options, *more):
    sizes, numbers = arguments(query.shape, key.shape, value.shape, options)
    masked = (0, 0, 0, 0) if mask is None else steps(mask.shape, _strides(mask.shape))
    of_arrays = (_strides(s) for s in (query.shape, key.shape, value.shape, *more))
    return (*sizes, *masked, *strides(*of_arrays)), numbers


def _strides(shape):
    return np.cumprod((1, *shape[:0:-1]))[::-1].tolist()


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    row = query.shape[:3], wide
    out = (*query.shape[:3], value.shape[3])
    results = (out, dtype), row, row
    sizes = _sizes(query, key, value, mask, options, out)
    given = (query, key, value, mask)
    y, top, mass = _ffi.call("attention_forward", dtype, given, results, *sizes)
    return y, (y, top, mass)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    y, top, mass = residuals
    dtype, wide = query.dtype, arithmetic(query.dtype)
    results = [(a.shape, wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options, y.shape, y.shape, *(s for s, _ in results))
    given = (dy.astype(dtype), query, key, value, y, top, mass, mask)
    made = _ffi.call("attention_backward", dtype, given, results, *sizes)
    return *made, None, None, None
