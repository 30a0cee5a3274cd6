"""Rows of the derivative tables for JAX on the CPU: the native core as an FFI call, in one pass.

Maths: the rows in bpx/activations. The core's kernels take two
numbers; an option that is a name chooses a kernel (gelu_tanh).
"""

from bpx.rule import Kernel
from bpx_jax.kernels.cpu import _ffi

# Those that gain: XLA makes one pass of the others too, and of their neighbours in the same pass.
NATIVE = frozenset(
    "sin cos tanh softplus log_sigmoid silu mish gelu arctan elu selu celu tanhshrink".split()
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
    def forward(x, **options):
        name, numbers = called(spec, options)
        result = ((x.shape, x.dtype),)
        y = _ffi.call(f"{name}_forward", x.dtype, (x,), result, (x.size,), numbers, fold=0)
        return *y, ()

    def backward(dy, arrays, residuals, needs, **options):
        (x,) = arrays  # what every entry of NATIVE keeps
        name, numbers = called(spec, options)
        given, result = (dy.astype(x.dtype), x), ((x.shape, x.dtype),)
        return _ffi.call(f"{name}_backward", x.dtype, given, result, (x.size,), numbers, fold=0)

    return Kernel("cpu", forward, backward, refuses=refuses)
