"""Rows of the derivative tables for JAX on the CPU: the native core as an FFI call, in one pass.

Maths: the rows in bpx/activations. The core's kernels take two
numbers; an option that is a name chooses a kernel (gelu_tanh).
"""

import jax.numpy as jnp

from bpx.rule import Kernel
from bpx_jax.kernels.cpu import _ffi

# Not those whose gradient is dy itself: XLA copies as fast.
NATIVE = frozenset(
    "sin exp cos square sigmoid tanh softplus log_sigmoid silu mish gelu softsign arctan elu selu "
    "celu relu leaky_relu relu6 hardtanh hardsigmoid hardswish relu_squared hardshrink softshrink "
    "tanhshrink threshold sparse_plus sparse_sigmoid squareplus clipped_straight_through_sign "
    "clipped_straight_through_round clipped_straight_through_binarize spike_fast_sigmoid "
    "spike_arctan spike_triangular".split()
)


def kernels(spec):
    """The cpu kernel of a row, or nothing where the plain rule is as fast."""
    return (_kernel(spec),) if spec.name in NATIVE else ()


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def called(spec, options):
    """(the kernel's name, its two numbers) for the options of a call."""
    names = [v for v in options.values() if isinstance(v, str)]
    numbers = [float(v) for v in options.values() if not isinstance(v, str)]
    return "_".join([spec.name, *names]), (*numbers, 0.0, 0.0)[:2]


def _kernel(spec):
    masked, keeps = "mask" in spec.residuals, bool(spec.residuals)

    def forward(x, **options):
        name, numbers = called(spec, options)
        made = [(x.shape, x.dtype), (x.shape, jnp.bool_)][: 1 + masked]
        y, *mask = _ffi.call(f"{name}_forward", x.dtype, (x,), made, (x.size,), numbers, fold=0)
        return y, (tuple(mask) if masked else (y,) if keeps else ())

    def backward(dy, arrays, residuals, needs, **options):
        name, numbers = called(spec, options)
        kept = residuals[0] if keeps else arrays[0]
        dtype = dy.dtype if masked else kept.dtype
        given, result = (dy.astype(dtype), kept), ((kept.shape, dtype),)
        return _ffi.call(f"{name}_backward", dtype, given, result, (kept.size,), numbers, fold=0)

    return Kernel("cpu", forward, backward, refuses=refuses)
