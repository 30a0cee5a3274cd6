"""How a Triton kernel is started: compiled on the GPU, or in Triton's interpreter on the CPU."""

import dis
import functools
import types

import numpy as np
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.runtime.interpreter import InterpretedFunction, TensorHandle
from triton.runtime.jit import JITFunction

from bpx.rule import interpreting
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.triton import _libdevice


@triton.jit
def add(a, b):
    """For tl.reduce: tl.sum is compiled when Triton is imported, out of the interpreter's reach."""
    return a + b


@triton.jit
def larger(a, b):
    """For tl.reduce, as tl.max; of a NaN and a number either."""
    return tl.maximum(a, b)


def refuses(arrays):
    """None, or why no Triton kernel can run on these arrays."""
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    device = arrays[0].device
    if device.type != "cuda" and not (device.type == "cpu" and interpreting()):
        return f"x is on {device.type}"
    for a in arrays:
        if a is not None and a.device != device:
            return f"an argument is on {a.device} beside x on {device}"
    return None


_compiled: dict = {}


def run(kernel, grid, x, *arguments, **constants):
    """Run the kernel where x is. A backward may come after the `use(interpret=True)` block, so the
    device decides, not the block."""
    if x.is_cpu:
        called = {
            k: _interpreted(v).rewrite() if isinstance(v, JITFunction) else v
            for k, v in constants.items()
        }
        exact = [_exact(a) if type(a) is float else a for a in arguments]
        with np.errstate(all="ignore"):  # NaN and infinity are results here
            _interpreted(kernel)[grid](*exact, **called)
    elif x.get_device() == torch._C._cuda_getDevice():
        _launch(kernel, grid, x, arguments, constants)
    else:
        with torch.cuda.device(x.device):  # Triton launches on the current device
            _launch(kernel, grid, x, arguments, constants)


def _launch(kernel, grid, x, arguments, constants):
    key = compiled_for(kernel, x, arguments, constants)
    found = _compiled.get(key)
    if found is None:
        made = kernel[grid](*arguments, **constants)
        _compiled[key] = made, kernel.arg_names[len(arguments) :]
    else:  # Triton's own look at the arguments takes longer than a small kernel
        made, rest = found
        made[(*grid, 1, 1)[:3]](*arguments, *[constants[n] for n in rest])


def compiled_for(kernel, x, arguments, constants):
    """All that Triton compiles a kernel anew for. A float that is 0 by its digits, since -0.0
    equals 0.0; functions and types, which are there for good, by where they are."""
    key = [id(kernel), x.get_device()]
    for c in constants.values():
        kind = type(c)
        if kind is float and (c == 0 or c != c):
            key.append(repr(c))
        else:
            key.append(id(c) if kind is JITFunction or kind is tl.dtype else c)
    for a in arguments:
        if type(a) is float:  # its parameter says tl.float64
            continue
        if type(a) is int:
            key.append((a == 1, a % 16 == 0, -(2**31) <= a < 2**31))
        else:
            key.append(a.dtype)
            key.append(a.data_ptr() % 16 == 0)
    return tuple(key)


def _exact(number):
    """A number as the kernel's tl.float64, which the interpreter would round to float32."""
    return tl.tensor(TensorHandle(np.array([number]), tl.float64), tl.float64)


@functools.cache
def _interpreted(kernel):
    """The kernel in the interpreter without TRITON_INTERPRET, which would have to be set at import.

    A copy of the function, whose functions are interpreted in turn. `add` and `larger` become the
    sum and the maximum that the interpreter knows as NumPy's, since it calls any other one element
    by element; CUDA's library of functions becomes NumPy's.
    """
    known = {add: "_sum_combine", larger: "_elementwise_max"}
    scope = dict(kernel.fn.__globals__)
    named = dis.get_instructions(kernel.fn.__code__)
    for name in {found.argval for found in named if found.opname == "LOAD_GLOBAL"}:
        value = scope.get(name)
        if isinstance(value, tl.constexpr):
            scope[name] = value.value
        elif value is libdevice:
            scope[name] = _libdevice
        elif isinstance(value, JITFunction):
            reduction = getattr(tl.standard, known.get(value, ""), None)
            scope[name] = reduction or _interpreted(value).rewrite()  # calls itself patch all of tl
    return InterpretedFunction(types.FunctionType(kernel.fn.__code__, scope, kernel.fn.__name__))
