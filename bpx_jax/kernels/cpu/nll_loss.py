"""nll_loss for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/losses/nll_loss.py.
"""

import jax.numpy as jnp

from bpx.native.losses import REDUCTIONS, ignoring
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type
from bpx_jax.kernels.cpu._losses import fold, labels


def refuses(arrays, dims):
    return _losses.refuses_labels(arrays[1]) or _losses.refuses(arrays)


def sizes(x, target, ignore_index, reduction):
    of_labels = target.dtype.itemsize, *ignoring(ignore_index)
    return target.size, x.shape[-1], 1, *of_labels, REDUCTIONS[reduction]


def forward(x, target, weight, *, ignore_index, reduction):
    dtype, wide = x.dtype, arithmetic(x.dtype)
    target = labels(target)
    y, picked = _ffi.call(
        "nll_loss_forward",
        dtype,
        (x, target, as_type(weight, wide)),
        ((target.shape if reduction == "none" else (), dtype), (target.shape, wide)),
        sizes(x, target, ignore_index, reduction),
        fold=fold(reduction, weight),
    )
    return y, (picked,)


def of_classes(weight, target, classes):
    """The weights of the rows' labels where the core looks for them: in their classes' places."""
    place = jnp.where(target < 0, classes, target)  # JAX counts from the end
    return jnp.zeros(classes, weight.dtype).at[place].set(weight, mode="drop")


def backward(dy, arrays, residuals, needs, *, ignore_index, reduction):
    x, target, weight = arrays  # of x there are shape and dtype alone
    dtype, wide = x.dtype, arithmetic(x.dtype)
    target = labels(target)
    if weight is not None and weight.shape != x.shape[-1:]:
        weight = of_classes(weight, target, x.shape[-1])
    dx, dweight = _ffi.call(
        "nll_loss_backward",
        dtype,
        (dy.astype(dtype), target, as_type(weight, wide), *residuals),
        ((x.shape, dtype), (weight.shape, wide) if needs[2] else None),
        sizes(x, target, ignore_index, reduction),
        fold=fold(reduction, weight),
    )
    return dx, None, dweight
