"""upsample_linear for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/upsample_linear.py."""

from bpx_jax.kernels.cpu import _ffi, _upsample


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, *, size, scale_factor, align_corners):
    return _upsample.forward("upsample_linear", x, size, scale_factor, align_corners), ()


def backward(dy, arrays, residuals, needs, *, size, scale_factor, align_corners):
    (x,) = arrays
    return (_upsample.backward("upsample_linear", dy, x, size, scale_factor, align_corners),)
