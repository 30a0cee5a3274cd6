"""multi_margin for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/losses/multi_margin.py.
"""

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu._losses import fold, labels


def refuses(arrays, dims):
    return _losses.refuses_labels(arrays[1]) or _losses.refuses(arrays)


def sizes(x, target, reduction, p):
    return target.size, x.shape[-1], target.dtype.itemsize, REDUCTIONS[reduction], p


def forward(x, target, weight, *, p, margin, reduction):
    dtype, target = x.dtype, labels(target)
    (y,) = _ffi.call(
        "multi_margin_forward",
        dtype,
        (x, target, as_type(weight, arithmetic(dtype))),
        ((target.shape if reduction == "none" else (), dtype),),
        sizes(x, target, reduction, p),
        (margin,),
        fold=fold(reduction, weight),
    )
    return y, ()


def backward(dy, arrays, residuals, needs, *, p, margin, reduction):
    x, target, weight = arrays
    dtype, wide, target = x.dtype, arithmetic(x.dtype), labels(target)
    dx, dweight = _ffi.call(
        "multi_margin_backward",
        dtype,
        (dy.astype(dtype), x, target, as_type(weight, wide)),
        ((x.shape, dtype), (weight.shape, wide) if needs[2] else None),
        sizes(x, target, reduction, p),
        (margin,),
        fold=fold(reduction, weight),
    )
    return dx, None, dweight
