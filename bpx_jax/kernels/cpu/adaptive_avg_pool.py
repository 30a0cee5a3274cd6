"""adaptive_avg_pool for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/adaptive_avg_pool.py."""

from bpx.native import windows
from bpx_jax.kernels.cpu import _ffi, _pool_call


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, *, output_size):
    return _pool_call.means(x, windows.adaptive(x.shape[2:], output_size)), ()


def backward(dy, arrays, residuals, needs, *, output_size):
    (x,) = arrays
    axes = windows.adaptive(x.shape[2:], output_size)
    return (_pool_call.means_backward(dy, x, axes),)
