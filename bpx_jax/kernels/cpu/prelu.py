"""prelu for JAX on the CPU, on XLA's own threads. Maths, shapes and source: bpx/layers/prelu.py."""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def sizes(shape, slopes, axis):
    """What lies before, along and behind the axis of the slopes."""
    if slopes == 1:
        return 1, 1, math.prod(shape)
    axis %= len(shape)
    return math.prod(shape[:axis]), slopes, math.prod(shape[axis + 1 :])


def forward(x, weight, *, axis):
    given = (x, None, as_type(weight, arithmetic(x.dtype)))
    results = ((x.shape, x.dtype), None)
    shape = sizes(x.shape, weight.shape[0], axis)
    return _ffi.call("prelu", x.dtype, given, results, shape)[0], ()


def backward(dy, arrays, residuals, needs, *, axis):
    x, weight = arrays
    statistic = arithmetic(x.dtype)
    given = (x, dy.astype(x.dtype), as_type(weight, statistic))
    results = ((x.shape, x.dtype), (weight.shape, statistic) if needs[1] else None)
    return _ffi.call("prelu", x.dtype, given, results, sizes(x.shape, weight.shape[0], axis))
