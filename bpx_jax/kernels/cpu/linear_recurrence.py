"""linear_recurrence for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

A walk through time for each batch element and block of columns, every array read or written once.
Maths, shapes and source: bpx/layers/linear_recurrence.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    a, b, _ = arrays
    if a.dtype != b.dtype:
        return f"b is {b.dtype} beside {a.dtype}"
    return _ffi.refuses(arrays)


def _sizes(a, reverse):
    return math.prod(a.shape[:-2]), *a.shape[-2:], int(reverse)


def forward(a, b, h0, *, reverse):
    given = (a, b, as_type(h0, arithmetic(a.dtype)))
    results, sizes = ((a.shape, a.dtype),), _sizes(a, reverse)
    (y,) = _ffi.call("linear_recurrence_forward", a.dtype, given, results, sizes, fold=0)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, reverse):
    a, _, h0 = arrays
    wide = arithmetic(a.dtype)
    made = (a.shape, a.dtype), (a.shape, a.dtype), ((*a.shape[:-2], a.shape[-1]), wide)
    results = [r if need else None for r, need in zip(made, needs, strict=True)]
    # of one step nothing is kept, and nothing read: a stands for it
    y = residuals[0] if residuals[0].size else a
    given = (dy.astype(a.dtype), a, as_type(h0, wide), y)
    sizes = _sizes(a, reverse)
    return _ffi.call("linear_recurrence_backward", a.dtype, given, results, sizes, fold=0)
