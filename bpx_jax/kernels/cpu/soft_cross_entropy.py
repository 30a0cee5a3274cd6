"""soft_cross_entropy for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/losses/soft_cross_entropy.py.
"""

import math

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu._losses import fold


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def sizes(logits, reduction):
    return math.prod(logits.shape[:-1]), logits.shape[-1], REDUCTIONS[reduction]


def forward(logits, target, weight, *, reduction, label_smoothing):
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    rows = logits.shape[:-1]
    y, lse = _ffi.call(
        "soft_cross_entropy_forward",
        dtype,
        (logits, target.astype(dtype), as_type(weight, wide)),
        ((rows if reduction == "none" else (), dtype), (rows, wide)),
        sizes(logits, reduction),
        (label_smoothing,),
        fold=fold(reduction, weight),
    )
    return y, (lse,)


def backward(dy, arrays, residuals, needs, *, reduction, label_smoothing):
    logits, target, weight = arrays
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    made = (
        (logits.shape, dtype) if needs[0] else None,
        (logits.shape, dtype) if needs[1] else None,
        (weight.shape, wide) if needs[2] else None,
    )
    given = (logits, target.astype(dtype), as_type(weight, wide))
    return _ffi.call(
        "soft_cross_entropy_backward",
        dtype,
        (dy.astype(dtype), *given, *residuals),
        made,
        sizes(logits, reduction),
        (label_smoothing,),
        fold=fold(reduction, weight),
    )
