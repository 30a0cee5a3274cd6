"""What the native kernels of the losses share: numbers of reductions, labels, types."""

import struct

import torch

from bpx import native
from bpx.native.losses import ignoring
from bpx_torch.kernels.cpu import _call, _pool

PACK = struct.Struct("6q").pack


def refuses(arrays, *alike):
    """None, or why no kernel runs; `alike` are read in the type of the first of the arrays, which
    must lose nothing of them."""
    if (reason := _call.refuses(arrays)) is not None:
        return reason
    dtype = arrays[0].dtype
    for a in alike:
        if a is not None and torch.promote_types(a.dtype, dtype) != dtype:
            return f"an argument is {_call._name(a)} beside {_call._name(arrays[0])}"
    return None


def in_place(x):
    """x, or a copy, with the classes last or, in an image, before all of its places."""
    classes_first = x.ndim > 2 and x.movedim(-1, 1).is_contiguous()
    if classes_first and not (x.is_neg() or x._is_zerotensor()):
        return x
    return _call.readable(x, x.dtype)


def labels_inside(target, classes, ignore_index):
    """Whether a kernel saw that every label is a class or ignored; False where none could look."""
    if type(target) is not torch.Tensor or not target.is_contiguous():
        return False
    if target.is_neg() or target._is_zerotensor() or native.available() is not None:
        return False
    call = target.data_ptr(), target.numel(), target.element_size(), classes
    packed = PACK(*call, *ignoring(ignore_index))
    return native.kernel("labels_outside")(packed, *_pool.parallel_for()) == 0
