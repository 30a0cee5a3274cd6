"""Gated linear units for JAX on the CPU: the native core as an XLA FFI call, in one pass.

Maths: bpx/activations/gated.py.
"""

from bpx.rule import Kernel
from bpx_jax.kernels.cpu import _ffi
from bpx_jax.kernels.cpu.elementwise import called, refuses


def kernels(spec):
    """The cpu kernel: XLA makes a pass for y and one for each gradient."""
    return (kernel(spec),)


def kernel(spec):
    def forward(x, gate, **options):
        name, numbers = called(spec, options)
        given, result = (x, gate.astype(x.dtype)), ((x.shape, x.dtype),)
        sizes = (x.size,) * 3  # one row
        (y,) = _ffi.call(f"{name}_forward", x.dtype, given, result, sizes, numbers, fold=2)
        return y, ()

    def backward(dy, arrays, residuals, needs, **options):
        name, numbers = called(spec, options)
        x, gate = arrays
        given = (dy.astype(x.dtype), x, gate.astype(x.dtype))
        results = [(x.shape, x.dtype) if need else None for need in needs]
        sizes = (x.size,) * 3
        return _ffi.call(f"{name}_backward", x.dtype, given, results, sizes, numbers, fold=2)

    return Kernel("cpu", forward, backward, refuses=refuses)
