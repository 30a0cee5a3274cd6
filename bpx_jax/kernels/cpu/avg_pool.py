"""avg_pool for JAX on the CPU, on XLA's own threads. Maths, shapes and source:
bpx/layers/avg_pool.py."""

from bpx.native import windows
from bpx_jax.kernels.cpu import _ffi, _pool_call


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def how(x, options):
    """The axes, whether padding counts, and what takes the place of the number of positions."""
    axes = windows.given(x.shape[2:], options)
    return axes, options["count_include_pad"], options["divisor_override"]


def forward(x, **options):
    return _pool_call.means(x, *how(x, options)), ()


def backward(dy, arrays, residuals, needs, **options):
    (x,) = arrays
    return (_pool_call.means_backward(dy, x, *how(x, options)),)
