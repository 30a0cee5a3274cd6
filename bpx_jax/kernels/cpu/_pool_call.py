"""The pools for JAX on the CPU: the native core as XLA FFI calls. Under vmap the batch multiplies
the planes."""

from bpx.native import windows
from bpx_jax.kernels.cpu import _ffi

PLANES = 0  # the place of their number among the sizes


def maxima(x, axes):
    """y (B C *O)."""
    shape = (*x.shape[:2], *windows.outputs(axes, x.ndim - 2))
    sizes = windows.flat(x.shape[:2], axes)
    result = (shape, x.dtype)
    return _ffi.call("max_pool", x.dtype, (x, None), (result,), sizes, fold=PLANES)[0]


def maxima_backward(dy, x, axes):
    sizes = windows.flat(x.shape[:2], axes)
    given, result = (x, dy.astype(x.dtype)), (x.shape, x.dtype)
    return _ffi.call("max_pool", x.dtype, given, (result,), sizes, fold=PLANES)[0]


def means(x, axes, with_padding=True, divisor=None):
    """y (B C *O)."""
    shape = (*x.shape[:2], *windows.outputs(axes, x.ndim - 2))
    sizes = windows.flat(x.shape[:2], axes, with_padding, divisor or 0)
    result = (shape, x.dtype)
    return _ffi.call("avg_pool_forward", x.dtype, (x,), (result,), sizes, fold=PLANES)[0]


def means_backward(dy, x, axes, with_padding=True, divisor=None):
    """dx; of x the shape and the dtype are looked at."""
    sizes = windows.flat(x.shape[:2], axes, with_padding, divisor or 0)
    given, result = (dy.astype(x.dtype),), (x.shape, x.dtype)
    return _ffi.call("avg_pool_backward", x.dtype, given, (result,), sizes, fold=PLANES)[0]
