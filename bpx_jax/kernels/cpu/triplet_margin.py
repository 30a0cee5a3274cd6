"""triplet_margin for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/losses/triplet_margin.py.
"""

from math import prod

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._ffi import arithmetic
from bpx_jax.kernels.cpu._losses import fold


def refuses(arrays, dims):
    return _losses.refuses(arrays, *arrays[1:])


def forward(anchor, positive, negative, *, margin, swap, eps, reduction):
    dtype, wide, shape = anchor.dtype, arithmetic(anchor.dtype), anchor.shape
    y, *kept = _ffi.call(
        "triplet_margin_forward",
        dtype,
        (anchor, positive.astype(dtype), negative.astype(dtype)),
        (
            (shape[:-1] if reduction == "none" else (), dtype),
            (shape, wide),
            (shape, wide),
            ((int(swap), *shape), wide),
        ),
        (prod(shape[:-1]), shape[-1], REDUCTIONS[reduction]),
        (margin, eps),
        fold=fold(reduction),
    )
    return y, tuple(kept)


def backward(dy, arrays, residuals, needs, *, margin, swap, eps, reduction):
    dtype, shape = dy.dtype, residuals[0].shape
    wide = arithmetic(dtype)
    # danchor over pulled, dnegative over pushed, as the kernel allows
    over = {1: 0, 2: 2} if wide == dtype else {}
    return _ffi.call(
        "triplet_margin_backward",
        dtype,
        (dy.astype(dtype), *(r.astype(wide) for r in residuals)),
        tuple((shape, dtype) if need else None for need in needs),
        (prod(shape[:-1]), shape[-1], REDUCTIONS[reduction]),
        (margin, eps),
        fold=fold(reduction),
        aliases={given: made for given, made in over.items() if needs[made]},
    )
