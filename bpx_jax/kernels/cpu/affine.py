"""affine for JAX on the CPU, on XLA's own threads. Maths, shapes: bpx/layers/affine.py."""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, weight, bias):
    statistic = arithmetic(x.dtype)
    given = (x, None, as_type(weight, statistic), as_type(bias, statistic))
    results = ((x.shape, x.dtype), None, None)
    return _ffi.call("affine", x.dtype, given, results, (math.prod(x.shape),))[0], ()


def backward(dy, arrays, residuals, needs):
    x, weight, _ = arrays
    statistic = arithmetic(x.dtype)
    given = (x, dy.astype(x.dtype), as_type(weight, statistic), None)
    results = ((x.shape, x.dtype), ((), statistic), ((), statistic))
    return _ffi.call("affine", x.dtype, given, results, (math.prod(x.shape),))
