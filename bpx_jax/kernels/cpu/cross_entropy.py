"""cross_entropy for JAX on the CPU: the native core as an XLA FFI call.

Each row of logits is read once in forward, once in backward, whatever the options.
Maths, shapes and source: bpx/losses/cross_entropy.py.
"""

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu._losses import fold, labels


def refuses(arrays, dims):
    return _losses.refuses_labels(arrays[1]) or _losses.refuses(arrays)


def sizes(logits, target, ignore_index, reduction):
    of_labels = target.dtype.itemsize, *ignoring(ignore_index)
    return target.size, logits.shape[-1], 1, *of_labels, REDUCTIONS[reduction]


def forward(logits, target, weight, *, ignore_index, reduction, label_smoothing):
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    target = labels(target)
    made = (target.shape if reduction == "none" else (), dtype), (target.shape, wide)
    y, lse = _ffi.call(
        "cross_entropy_forward",
        dtype,
        (logits, target, as_type(weight, wide)),
        made,
        sizes(logits, target, ignore_index, reduction),
        (label_smoothing,),
        fold=fold(reduction, weight),
    )
    return y, (lse,)


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction, label_smoothing):
    logits, target, weight = arrays
    dtype, wide = logits.dtype, arithmetic(logits.dtype)
    target = labels(target)
    dlogits, dweight = _ffi.call(
        "cross_entropy_backward",
        dtype,
        (dy.astype(dtype), logits, target, as_type(weight, wide), *residuals),
        ((logits.shape, dtype), (weight.shape, wide) if needs[2] else None),
        sizes(logits, target, ignore_index, reduction),
        (label_smoothing,),
        fold=fold(reduction, weight),
    )
    return dlogits, None, dweight
