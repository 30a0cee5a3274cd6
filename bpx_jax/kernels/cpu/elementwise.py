"""Rows of the derivative tables for JAX on the CPU: the native core as an FFI call, in one pass.

Maths: the rows in bpx/activations. The core's kernels take two
numbers; an option that is a name chooses a kernel (gelu_tanh).
"""

import jax.numpy as jnp

from bpx.rule import Kernel
from bpx_jax.kernels.cpu import _ffi

# Those that gain: XLA makes one pass of the others too, and of their neighbours in the same pass.
NATIVE = frozenset(
    "sin cos sigmoid tanh softplus log_sigmoid silu mish gelu arctan elu selu celu hardsigmoid "
    "relu_squared tanhshrink sparse_sigmoid squareplus clipped_straight_through_sign "
    "clipped_straight_through_round clipped_straight_through_binarize".split()
)
# Those whose large arrays cost what their memory does, in XLA too.
CHEAP = frozenset(
    "hardsigmoid relu_squared sparse_sigmoid clipped_straight_through_sign "
    "clipped_straight_through_round clipped_straight_through_binarize".split()
)
LARGEST = 1 << 21


def kernels(spec):
    """The cpu kernel of a row, or nothing where the plain rule is as fast."""
    return (_kernel(spec),) if spec.name in NATIVE else ()


def refuses(arrays, dims):
    return _ffi.refuses(arrays)


def refuses_large(arrays, dims):
    if (n := arrays[0].size) > LARGEST:
        return f"XLA takes no longer for {n:,} elements"
    return refuses(arrays, dims)


def called(spec, options):
    """(the kernel's name, its two numbers) for the options of a call."""
    names = [v for v in options.values() if isinstance(v, str)]
    numbers = [float(v) for v in options.values() if not isinstance(v, str)]
    return "_".join([spec.name, *names]), (*numbers, 0.0, 0.0)[:2]


def _kernel(spec):
    masked = "mask" in spec.residuals  # no entry of NATIVE keeps y

    def forward(x, **options):
        name, numbers = called(spec, options)
        made = [(x.shape, x.dtype), (x.shape, jnp.bool_)][: 1 + masked]
        y, *mask = _ffi.call(f"{name}_forward", x.dtype, (x,), made, (x.size,), numbers, fold=0)
        return y, tuple(mask)

    def backward(dy, arrays, residuals, needs, **options):
        name, numbers = called(spec, options)
        kept = residuals[0] if masked else arrays[0]
        dtype = dy.dtype if masked else kept.dtype
        given, result = (dy.astype(dtype), kept), ((kept.shape, dtype),)
        return _ffi.call(f"{name}_backward", dtype, given, result, (kept.size,), numbers, fold=0)

    unless = refuses_large if spec.name in CHEAP else refuses
    return Kernel("cpu", forward, backward, refuses=unless)
