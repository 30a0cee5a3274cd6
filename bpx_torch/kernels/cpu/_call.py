"""How a kernel of the native core is called with tensors: by pointer, on torch's threads."""

import contextlib
import ctypes
import functools
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bpx import native
from bpx_torch.kernels import _opaque
from bpx_torch.kernels.cpu import _pages, _pool

NAMES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}
SUFFIXES = {**NAMES, torch.uint8: "u8"}


def refuses(arrays):
    """None, or why no kernel of the core can run on these arrays. The first one gives the type;
    arrays after it may be of narrower ones, never float64 beside another."""
    if (reason := _opaque.refuses(arrays)) is not None:
        return reason
    first = arrays[0]
    if first.layout is not torch.strided:
        return f"an argument is {first.layout}"
    if first.dtype not in NAMES:
        return f"it takes float32, float64 and bfloat16, not {_name(first)}"
    for a in arrays:
        if a is None:
            continue
        if not a.is_cpu:
            return f"an argument is on {a.device}"
        if a.numel() == 0:
            return "an argument has no elements"
        if a.dtype == torch.float64 and first.dtype != torch.float64:
            return f"an argument is float64 beside {_name(first)}"
    return native.available()


def run(kernel, dtype, arrays, sizes, numbers=()):
    """Run bpx_`kernel`_<dtype>: `arrays` in the order of its struct, None where absent, each
    contiguous, of the type that the struct has, and kept alive by the caller."""
    pack, function = _bound(kernel, dtype, len(arrays) + len(sizes), len(numbers))
    if (calls := _RECORDING.calls) is not None:
        calls.append(Call(kernel, dtype, arrays, sizes, numbers))
    for a in arrays:  # those written among them, which may be new
        if a is not None and a.nbytes >= _pages.LARGE:
            _pages.ask(a)
    call = pack(*[0 if a is None else a.data_ptr() for a in arrays], *sizes, *numbers)
    if function(call, *_pool.parallel_for()):
        native.check(1)


@functools.cache
def _bound(kernel, dtype, integers, numbers):
    return (
        struct.Struct(f"{integers}q{numbers}d").pack,
        native.kernel(f"{kernel}_{SUFFIXES[dtype]}"),
    )


class _Recording(threading.local):
    calls = None


_RECORDING = _Recording()


@contextlib.contextmanager
def recording(calls):
    """Within it the calls of this thread are written down in the list `calls`."""
    _RECORDING.calls = calls
    try:
        yield
    finally:
        _RECORDING.calls = None


@dataclass(frozen=True)
class Call:
    """What `run` was given."""

    kernel: str
    dtype: torch.dtype
    arrays: Sequence[torch.Tensor | None]
    sizes: Sequence[int]
    numbers: Sequence[float]

    def packed(self, places):
        """(the kernel's address, where each array comes from, the rest of its struct)."""
        _, function = _bound(self.kernel, self.dtype, 0, 0)
        rest = struct.pack(f"{len(self.sizes)}q{len(self.numbers)}d", *self.sizes, *self.numbers)
        address = ctypes.cast(function, ctypes.c_void_p).value
        return address, [places.of(a) for a in self.arrays], rest


def arithmetic(dtype):
    """The type of statistics, weights and their gradients."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def readable(a, dtype):
    """`a` as a kernel reads it: of this dtype, contiguous, every pending operation done. The result
    must be named while the kernel runs: a pointer does not keep a copy alive."""
    if a is None:
        return None
    if a.dtype == dtype and a.is_contiguous() and not (a.is_neg() or a._is_zerotensor()):
        return a
    return _opaque.readable(a.detach().to(dtype))


def _name(a):
    return str(a.dtype).removeprefix("torch.")
