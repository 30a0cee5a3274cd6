"""jsd for JAX on the CPU: the native core as an XLA FFI call. Maths, shapes and source:
bpx/losses/jsd.py."""

import math

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._losses import fold


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def forward(x, target, *, reduction):
    rows = x.shape[:-1]
    made = ((rows if reduction == "none" else (), x.dtype),)
    sizes = (math.prod(rows), x.shape[-1], REDUCTIONS[reduction])
    given = (x, target.astype(x.dtype))
    (y,) = _ffi.call("jsd_forward", x.dtype, given, made, sizes, fold=fold(reduction))
    return y, ()


def backward(dy, arrays, residuals, needs, *, reduction):
    x, target = arrays
    made = tuple((x.shape, x.dtype) if need else None for need in needs)
    sizes = (math.prod(x.shape[:-1]), x.shape[-1], REDUCTIONS[reduction])
    given = (dy.astype(x.dtype), x, target.astype(x.dtype))
    return _ffi.call("jsd_backward", x.dtype, given, made, sizes, fold=fold(reduction))
