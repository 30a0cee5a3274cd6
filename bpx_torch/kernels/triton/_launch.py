"""How a Triton kernel is started: compiled on the GPU, or in Triton's interpreter on the CPU."""

import functools
import types

import torch
import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from bpx.rule import asked, interpreting
from bpx_torch.kernels import _opaque


@triton.jit
def add(a, b):
    """For tl.reduce: tl.sum is compiled when Triton is imported, out of the interpreter's reach."""
    return a + b


def refuses(arrays):
    """None, or why no Triton kernel can run on these arrays."""
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    device = arrays[0].device
    if device.type != "cuda" and not (device.type == "cpu" and interpreting()):
        return f"x is on {device.type}"
    if device.type == "cuda" and asked() != "triton":
        # Compiled for one, never run on one: not to be anybody's default.
        return "it has not been measured on a GPU, so it runs only within bpx.rule.use('triton')"
    for a in arrays:
        if a is not None and a.device != device:
            return f"an argument is on {a.device} beside x on {device}"
    return None


def run(kernel, grid, x, *arguments, **constants):
    """Run the kernel where x is. A backward may come after the `use(interpret=True)` block, so the
    device decides, not the block."""
    if x.device.type == "cpu":
        _interpreted(kernel)[grid](*arguments, **constants)
    else:
        with torch.cuda.device(x.device):  # Triton launches on the current device
            kernel[grid](*arguments, **constants)


@functools.cache
def _interpreted(kernel):
    """The kernel in the interpreter without TRITON_INTERPRET, which would have to be set at import.

    A copy of the function, whose functions are interpreted in turn; `add` becomes the sum that the
    interpreter knows as NumPy's, since it calls any other one element by element.
    """
    scope = dict(kernel.fn.__globals__)
    for name, value in scope.items():
        if value is add:
            scope[name] = getattr(tl.standard, "_sum_combine", add)
        elif isinstance(value, JITFunction):
            scope[name] = InterpretedFunction(value.fn)
    return InterpretedFunction(types.FunctionType(kernel.fn.__code__, scope, kernel.fn.__name__))
