"""Resizing for JAX on the CPU: the native core as XLA FFI calls. Under vmap the batch multiplies
the planes."""

from bpx.native.windows import resized
from bpx_jax.kernels.cpu import _ffi

PLANES = 0  # the place of their number among the sizes


def forward(name, x, *how):
    shape, integers, numbers = resized(x.shape, *how)
    result = (shape, x.dtype)
    kernel = f"{name}_forward"
    return _ffi.call(kernel, x.dtype, (x,), (result,), integers, numbers, fold=PLANES)[0]


def backward(name, dy, x, *how):
    """dx; of x the shape and the dtype are looked at."""
    _, integers, numbers = resized(x.shape, *how)
    given, result = (dy.astype(x.dtype),), (x.shape, x.dtype)
    kernel = f"{name}_backward"
    return _ffi.call(kernel, x.dtype, given, (result,), integers, numbers, fold=PLANES)[0]
