"""cosine_embedding for JAX on the CPU: the native core as an XLA FFI call.

Maths, shapes and source: bpx/losses/cosine_embedding.py.
"""

from bpx.native.losses import REDUCTIONS
from bpx_jax.kernels.cpu import _ffi, _losses
from bpx_jax.kernels.cpu._losses import fold


def refuses(arrays, dims):
    return _losses.refuses(arrays, *arrays[1:])


def forward(x1, x2, target, *, margin, eps, reduction):
    dtype = x1.dtype
    (y,) = _ffi.call(
        "cosine_forward",
        dtype,
        (x1, x2.astype(dtype), target.astype(dtype)),
        ((target.shape if reduction == "none" else (), dtype),),
        (target.size, x1.shape[-1], REDUCTIONS[reduction]),
        (eps, margin),
        fold=fold(reduction),
    )
    return y, ()


def backward(dy, arrays, residuals, needs, *, margin, eps, reduction):
    x1, x2, target = arrays
    dtype = x1.dtype
    return _ffi.call(
        "cosine_backward",
        dtype,
        (dy.astype(dtype), x1, x2.astype(dtype), target.astype(dtype)),
        tuple((a.shape, dtype) if need else None for a, need in zip(arrays, needs, strict=True)),
        (target.size, x1.shape[-1], REDUCTIONS[reduction]),
        (eps, margin),
        fold=fold(reduction),
    )
