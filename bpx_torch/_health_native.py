"""Statistics of tensors on the CPU by the native core, bpx/native/watch.c, for bpx_torch.health."""

import ctypes
import functools
import struct

import torch

from bpx import native
from bpx_torch.kernels.cpu._call import NAMES
from bpx_torch.kernels.cpu._pool import parallel_for

TAKEN = (torch.float32, torch.bfloat16)  # whose squares float64 has room for
PLAIN = {torch.Tensor, torch.nn.Parameter}
ALONE = 16384  # elements below which the core makes one chunk, which needs no other thread
NO_UNITS, NO_BOUNDS = (0, 0, 0), (0, 0.0, 0.0)
WATCH, APART = struct.Struct("8q2d").pack, struct.Struct("5qd").pack

# what the core writes of an array: elements, mean, variance, how many are not finite
Row = ctypes.c_double * 4
RowAndShare = ctypes.c_double * 5
_address_of = ctypes.addressof


@functools.cache
def _taken():
    return TAKEN if native.available() is None else ()


@functools.cache
def _kernel(name, dtype):
    return native.kernel(f"{name}_{NAMES[dtype]}")


def address(x):
    """Where the core reads an array; 0 for what it does not take, or has no elements."""
    if type(x) not in PLAIN or x.dtype not in _taken() or not x.is_cpu:
        return 0
    try:
        return x.data_ptr() if x.is_contiguous() and not x.is_neg() else 0
    except RuntimeError:  # `inside` a transform, where a tensor has no storage
        return 0


def inside(x):
    """Whether a tensor is one of torch.func's or of torch.autograd.grad's batched gradients."""
    functorch = torch._C._functorch
    return functorch.is_functorch_wrapped_tensor(x) or functorch.is_legacy_batchedtensor(x)


def look(x, at, alive=0, places=NO_UNITS, bounds=NO_BOUNDS):
    """The Row of an array, whose `address` is `at`, in one call; with bounds a RowAndShare.

    alive   0, or the address of a bool for each unit, made true for those with a value other than 0
    places  (outer, units, inner): the shape in which units lie on the middle axis
    bounds  (0, middle, half): the share is that of values further than half from middle; (width,
            0, sure): of a softmax's rows of that width whose largest value is beyond `sure`
    """
    row, n = RowAndShare() if bounds[2] else Row(), x.numel()
    call = WATCH(at, alive, _address_of(row), n, *places, *bounds)
    kernel = _kernel("watch", x.dtype)
    if kernel(call, None, None) if n < ALONE else kernel(call, *parallel_for()):
        native.check(1)
    return row


def moments(x):
    """The Row of an array; None for one that is not taken."""
    at = address(x)
    return look(x, at) if at else None


def apart(x, axis, close):
    """Whether a few of their weights tell all units on an axis, the first or the last, apart by
    more than `close` of the largest; None where x is not taken."""
    if not (at := address(x)):
        return None
    out, n = ctypes.c_float(), x.shape[axis]
    rest = x.numel() // n
    rows, columns = (rest, n) if axis else (n, rest)
    run("apart", x.dtype, APART(at, _address_of(out), rows, columns, bool(axis), close), 0)
    return bool(out.value)


def run(name, dtype, call, elements):
    """Run a kernel, the largest of whose arrays has so many elements."""
    host = parallel_for() if elements >= ALONE else (None, None)
    if _kernel(name, dtype)(call, *host):
        native.check(1)
