"""The gradients of a convolution on the CPU: its weight's by the native core, on torch's threads.

torch's own convolutions give the forward and the gradient of the input. The weight's as a
convolution with batch and channels exchanged takes twice as long as what torch has for it.
Maths: bpx/layers/conv.py, bpx/layers/conv_transpose.py.
"""

import torch

from bpx_torch import _conv
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

DTYPES = (torch.float32, torch.float64)
PLACES = 8192  # of all rows, from which turning the weight around costs nothing beside the rest


def refuses(arrays, dims):
    x, *weights, _ = arrays
    if x.dtype not in DTYPES:
        return f"it takes float32 and float64, not {_call._name(x)}"
    for w in weights:
        if w.dtype != x.dtype:
            return f"an argument is {_call._name(w)} beside {_call._name(x)}"
    if any(not a.is_contiguous() for a in arrays[:-1]):
        return "the channels are innermost, or the arrays have gaps"
    return _call.refuses(arrays)


def widen(y, weight, sizes, stride, low, dilation, groups):
    """As the plain rules' widen. With windows one apart it is a convolution too, by the weight
    turned around, which is faster than the transposed one."""
    reach = tuple(d * (w - 1) for d, w in zip(dilation, weight.shape[2:], strict=True))
    few = y.shape[0] * y.shape[2:].numel() < PLACES
    if few or any(s != 1 for s in stride) or any(p > r for p, r in zip(low, reach, strict=True)):
        return _conv.widen(y, weight, sizes, stride, low, dilation, groups)
    outs, per, *kernel = weight.shape
    turned = weight.reshape(groups, outs // groups, per, *kernel).transpose(1, 2)
    turned = turned.flip(*range(3, turned.ndim)).reshape(groups * per, outs // groups, *kernel)
    behind = tuple(r - p for r, p in zip(reach, low, strict=True))
    return _conv.cut(_conv.narrow(y, turned, None, stride, behind, dilation, groups), sizes)


def parameters(x, dy, weight, stride, low, dilation, groups, needs):
    """As the plain rules' parameters: dy is summed where it is read for dweight."""
    rest = stride, low, dilation, groups
    if not all(needs):
        return _conv.parameters(x, dy, weight, *rest, needs, match)
    total = x.new_empty(dy.shape[1])
    return match(x, dy, weight.shape[2:], *rest, total), total


def match(wide, y, kernel, stride, low, dilation, groups, total=None):
    """As the plain rules' match: (O K *W) of wide (B G K *S) and y (B O *T); into `total` (O) the
    sum of y over rows and places."""
    wide, y = readable(wide, wide.dtype), readable(y, wide.dtype)
    made = wide.new_empty((y.shape[1], wide.shape[1] // groups, *kernel))

    def three(sizes, value):
        return (*(value,) * (3 - len(sizes)), *sizes)

    sizes = (
        *(wide.shape[0], groups, wide.shape[1] // groups, y.shape[1] // groups),
        *(*three(wide.shape[2:], 1), *three(y.shape[2:], 1), *three(kernel, 1)),
        *(*three(stride, 1), *three(low, 0), *three(dilation, 1)),
    )
    _call.run("conv_weight", wide.dtype, (wide, y, made, total), sizes)
    return made
