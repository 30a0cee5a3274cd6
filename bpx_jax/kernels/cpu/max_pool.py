"""max_pool for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/max_pool.py."""

from bpx.native import windows
from bpx_jax.kernels.cpu import _ffi, _pool_call


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def forward(x, **options):
    return _pool_call.maxima(x, windows.given(x.shape[2:], options)), ()


def backward(dy, arrays, residuals, needs, **options):
    (x,) = arrays
    return (_pool_call.maxima_backward(dy, x, windows.given(x.shape[2:], options)),)
