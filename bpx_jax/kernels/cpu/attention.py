"""attention for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

A block of scores stays in cache between the products that make and use it. A bias and dropout are
the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import numpy as np

from bpx.native.attention import arguments, steps
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _ffi.refuses(arrays)


def _sizes(query, key, value, mask, options):
    sizes, numbers = arguments(query.shape, key.shape, value.shape, options)
    if mask is None:
        return (*sizes, 0, 0, 0, 0), numbers
    return (*sizes, *steps(mask.shape, np.cumprod((1, *mask.shape[:0:-1]))[::-1].tolist())), numbers


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    row = query.shape[:3], wide
    results = ((*query.shape[:3], value.shape[3]), dtype), row, row
    sizes = _sizes(query, key, value, mask, options)
    given = (query, key, value, mask)
    y, top, mass = _ffi.call("attention_forward", dtype, given, results, *sizes)
    return y, (y, top, mass)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    y, top, mass = residuals
    dtype, wide = query.dtype, arithmetic(query.dtype)
    results = [(a.shape, wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options)
    given = (dy.astype(dtype), query, key, value, y, top, mass, mask)
    made = _ffi.call("attention_backward", dtype, given, results, *sizes)
    return *made, None, None, None
