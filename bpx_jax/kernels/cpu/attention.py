"""attention for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

A block of scores stays in cache between the products that make and use it. A bias and dropout are
the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import math

import numpy as np

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _ffi.refuses(arrays)


def _steps(a):
    """From one element to the next in each dim, 0 where there is one."""
    if a is None:
        return (0,) * 4
    steps = np.cumprod((1, *a.shape[:0:-1]))[::-1]
    return tuple(0 if n == 1 else int(s) for n, s in zip(a.shape, steps, strict=True))


def _sizes(query, key, value, mask, options):
    (b, h, t, d), (k, s) = query.shape, key.shape[1:3]
    left, right = options["window"] or (None, None)
    right = 0 if options["causal"] else right
    left, right = (max(t, s) if n is None else min(n, max(t, s)) for n in (left, right))
    cap, scale = options["softcap"], options["scale"]
    sizes = (b, h, k, t, s, d, value.shape[3], left, right, int(cap is not None))
    numbers = 1 / math.sqrt(d) if scale is None else scale, 1.0 if cap is None else cap
    return (*sizes, *_steps(mask)), numbers


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    results = ((*query.shape[:3], value.shape[3]), dtype), (query.shape[:3], wide)
    sizes = _sizes(query, key, value, mask, options)
    given = (query, key, value, mask)
    y, lse = _ffi.call("attention_forward", dtype, given, results, *sizes)
    return y, (y, lse)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    y, lse = residuals
    dtype, wide = query.dtype, arithmetic(query.dtype)
    results = [(a.shape, wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options)
    given = (dy.astype(dtype), query, key, value, y, lse, mask)
    made = _ffi.call("attention_backward", dtype, given, results, *sizes)
    return *made, None, None, None
