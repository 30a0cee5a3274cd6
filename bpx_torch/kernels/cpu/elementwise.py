"""Rows of the derivative tables for torch on the CPU: the native core by pointer, in one pass.

Maths and residuals: the rows in bpx/activations and bpx/surrogate. The core's kernels take two
numbers; an option that is a name chooses a kernel (gelu_tanh).
"""

import torch

from bpx.rule import Kernel
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

NATIVE = frozenset(
    "sin exp cos square sigmoid tanh softplus log_sigmoid silu mish gelu softsign arctan elu selu "
    "celu relu leaky_relu relu6 hardtanh hardsigmoid hardswish relu_squared hardshrink softshrink "
    "tanhshrink threshold sparse_plus sparse_sigmoid squareplus straight_through_sign "
    "straight_through_round straight_through_binarize clipped_straight_through_sign "
    "clipped_straight_through_round clipped_straight_through_binarize spike_fast_sigmoid "
    "spike_arctan spike_triangular".split()
)


def kernels(spec):
    """The cpu kernel of a row, or nothing where the plain rule is as fast."""
    return (_kernel(spec),) if spec.name in NATIVE else ()


def refuses(arrays, dims):
    return _call.refuses(arrays)


def called(name, way, options):
    """(the kernel's name, its two numbers) for the values of the options of a call."""
    names = [v for v in options if isinstance(v, str)]
    numbers = [float(v) for v in options if not isinstance(v, str)]
    return "_".join([name, *names, way]), (*numbers, 0.0, 0.0)[:2]


def _kernel(spec):
    entry, masked, keeps = spec.name, "mask" in spec.residuals, bool(spec.residuals)
    keeps_nothing = not (spec.residuals or spec.saves)

    def forward(x, **options):
        name, numbers = called(entry, "forward", tuple(options.values()))
        if not _ready(x, x.dtype):
            (x,) = _in_one_order((x,), (x.dtype,))
        y = torch.empty_like(x)
        if masked:
            mask = torch.empty_like(x, dtype=torch.bool)
            _call.run(name, x.dtype, (x, y, mask), (x.numel(),), numbers)
            return y, (mask,)
        _call.run(name, x.dtype, (x, y), (x.numel(),), numbers)
        return y, ((y,) if keeps else ())

    def backward(dy, arrays, residuals, needs, **options):
        if keeps_nothing:
            return (dy,)
        name, numbers = called(entry, "backward", tuple(options.values()))
        kept = residuals[0] if keeps else arrays[0]
        dtype = dy.dtype if masked else kept.dtype
        if not (_ready(dy, dtype) and _ready(kept, kept.dtype)):
            dy, kept = _in_one_order((dy, kept), (dtype, kept.dtype))
        dx = torch.empty_like(dy)
        _call.run(name, dtype, (dy, kept, dx), (dy.numel(),), numbers)
        return (dx,)

    return Kernel("cpu", forward, backward, refuses=refuses)


def _ready(a, dtype):
    return a.is_contiguous() and a.dtype is dtype and not (a.is_neg() or a._is_zerotensor())


def _in_one_order(arrays, dtypes):
    """The arrays in one order of elements without gaps: their own where they share it (channels
    last stays so), else contiguous."""
    first, *others = arrays
    if not first.is_contiguous():
        strides = torch.empty_like(first).stride()  # those of the array itself if it has no gaps
        if first.stride() == strides and all(a.stride() == strides for a in others):
            if all(
                a.dtype == dtype and not (a.is_neg() or a._is_zerotensor())
                for a, dtype in zip(arrays, dtypes, strict=True)
            ):
                return arrays
    return [readable(a, dtype) for a, dtype in zip(arrays, dtypes, strict=True)]
