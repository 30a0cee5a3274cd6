"""rms_norm for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

Maths, shapes and source: bpx/layers/rms_norm.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, weight, *, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    results = ((x.shape, dtype), ((*x.shape[:-1], 1), statistic))
    sizes = (math.prod(x.shape[:-1]), x.shape[-1])
    given = (x, as_type(weight, statistic))
    y, rstd = _ffi.call("rms_norm_forward", dtype, given, results, sizes, (eps,))
    return y, (rstd,)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    results = (
        (x.shape, dtype) if needs[0] else None,
        (x.shape[-1:], statistic) if needs[1] else None,
    )
    given = (dy.astype(dtype), x, as_type(weight, statistic), *residuals)
    sizes = (math.prod(x.shape[:-1]), x.shape[-1])
    return _ffi.call("rms_norm_backward", dtype, given, results, sizes)
