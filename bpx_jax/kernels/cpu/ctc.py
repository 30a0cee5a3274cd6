"""ctc_loss for JAX on the CPU: the native core as an XLA FFI call, on XLA's own threads.

The whole walk through the frames, forwards and backwards, without an XLA loop.
Maths, shapes and source: bpx/losses/ctc.py.
"""

import math

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._ffi import arithmetic, as_type

REDUCTIONS = ("none", "mean", "sum")


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def _integers(*arrays):
    """The arrays of labels and lengths in one type, and its bytes."""
    wide = any(a.dtype.itemsize == 8 for a in arrays)
    return [as_type(a, "int64" if wide else "int32") for a in arrays], 8 if wide else 4


def _sizes(x, targets, blank, bytes, reduction, zero_infinity):
    items, reduction = math.prod(targets.shape[:-1]), REDUCTIONS.index(reduction)
    sizes = (x.shape[0], items, x.shape[-1], targets.shape[-1], blank, bytes)
    return *sizes, reduction, int(zero_infinity)


def forward(log_probs, targets, input_lengths, target_lengths, *, blank, reduction, zero_infinity):
    x = log_probs
    labels, bytes = _integers(targets, input_lengths, target_lengths)
    sizes = _sizes(x, targets, blank, bytes, reduction, zero_infinity)
    shape = (*x.shape[:-1], 2 * targets.shape[-1] + 1)
    results = (
        (input_lengths.shape if reduction == "none" else (), x.dtype),
        (shape, arithmetic(x.dtype)),
    )
    y, alpha = _ffi.call("ctc_forward", x.dtype, (x, *labels), results, sizes)
    return y, (alpha,)


def backward(dy, arrays, residuals, needs, *, blank, reduction, zero_infinity):
    x, targets, *lengths = arrays
    labels, bytes = _integers(targets, *lengths)
    sizes = _sizes(x, targets, blank, bytes, reduction, zero_infinity)
    given = (as_type(dy, arithmetic(x.dtype)), x, *labels, *residuals)
    (dx,) = _ffi.call("ctc_backward", x.dtype, given, ((x.shape, x.dtype),), sizes)
    return dx, None, None, None
