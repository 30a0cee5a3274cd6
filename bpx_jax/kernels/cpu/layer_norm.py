"""layer_norm for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

Each row is read from memory once; the passes that the plain rule makes over memory happen in cache.
Its custom calls are of this version of bpx: jax.export refuses to write them down and names them;
export within bpx.use("plain"), which gives a portable program.
Maths, shapes and source: bpx/layers/layer_norm.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, weight, bias, *, eps):
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    rows = ((*x.shape[:-1], 1), statistic)
    given = (x, as_type(weight, statistic), as_type(bias, statistic))
    sizes = (math.prod(x.shape[:-1]), x.shape[-1])
    results = ((x.shape, dtype), rows, rows)
    y, mu, rstd = _ffi.call("layer_norm_forward", dtype, given, results, sizes, (eps,))
    return y, (mu, rstd)


def backward(dy, arrays, residuals, needs, *, eps):
    x, weight, _ = arrays
    dtype, statistic = x.dtype, arithmetic(x.dtype)
    feature = (x.shape[-1:], statistic)
    made = ((x.shape, dtype), feature, feature)
    results = [r if need else None for r, need in zip(made, needs, strict=True)]
    given = (dy.astype(dtype), x, as_type(weight, statistic), *residuals)
    sizes = (math.prod(x.shape[:-1]), x.shape[-1])
    return _ffi.call("layer_norm_backward", dtype, given, results, sizes)
