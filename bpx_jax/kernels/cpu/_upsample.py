"""Resizing for JAX on the CPU: the native core as XLA FFI calls. Under vmap the batch multiplies
the planes."""

from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu._windows import each_axis

PLANES = 0  # the place of their number among the sizes


def sizes(shape, size, scale_factor, flag):
    """(sizes of y, the sizes and the numbers of a call) for x (B C *S)."""
    n, spatial = len(shape) - 2, shape[2:]
    if size is not None:
        outs, scales = each_axis(size, n), (0.0,) * n
    else:
        scales = each_axis(scale_factor, n)
        outs = tuple(int(s * f) for s, f in zip(spatial, scales, strict=True))
    axes = [1, 1] * (3 - n)
    for s, out in zip(spatial, outs, strict=True):
        axes += [s, out]
    numbers = (*[0.0] * (3 - n), *(float(f) for f in scales))
    return (*shape[:2], *outs), (shape[0] * shape[1], n, *axes, flag), numbers


def forward(name, x, *how):
    shape, integers, numbers = sizes(x.shape, *how)
    result = (shape, x.dtype)
    kernel = f"{name}_forward"
    return _ffi.call(kernel, x.dtype, (x,), (result,), integers, numbers, fold=PLANES)[0]


def backward(name, dy, x, *how):
    """dx; of x the shape and the dtype are looked at."""
    _, integers, numbers = sizes(x.shape, *how)
    given, result = (dy.astype(x.dtype),), (x.shape, x.dtype)
    kernel = f"{name}_backward"
    return _ffi.call(kernel, x.dtype, given, (result,), integers, numbers, fold=PLANES)[0]
