"""softmax for JAX on the CPU, and what log_softmax shares with it: the native core by XLA FFI.

Maths, shapes and source: bpx/layers/softmax.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def sizes(shape, dim, logarithm):
    """(outer, axis, inner, whether the logarithm is wanted)."""
    dim %= len(shape)
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :]), logarithm


def forward(x, *, dim, logarithm=0):
    made, of = ((x.shape, x.dtype),), sizes(x.shape, dim, logarithm)
    (y,) = _ffi.call("softmax_forward", x.dtype, (x,), made, of, fold=0)
    return y, (y,)


def backward(dy, arrays, residuals, needs, *, dim, logarithm=0):
    (y,) = residuals
    made, of = ((y.shape, y.dtype),), sizes(y.shape, dim, logarithm)
    return _ffi.call("softmax_backward", y.dtype, (dy.astype(y.dtype), y), made, of, fold=0)
