"""The gradient of a convolution's weight on the CPU: the native core, on torch's own threads.

torch's own convolutions give the forward and the gradient of the input. The weight's as a
convolution with batch and channels exchanged takes twice as long as what torch has for it.
Maths: bpx/layers/conv.py, bpx/layers/conv_transpose.py.
"""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable

DTYPES = (torch.float32, torch.float64)


def refuses(arrays, dims):
    x, weight, _ = arrays
    if x.dtype not in DTYPES or weight.dtype != x.dtype:
        return f"it takes float32 and float64, not {str(x.dtype).removeprefix('torch.')}"
    if any(not a.is_contiguous() for a in arrays[:2]):
        return "the channels are innermost, or the arrays have gaps"
    return _call.refuses(arrays)


def match(wide, y, kernel, stride, low, dilation, groups):
    """As the plain rules' match: (O K *W) of wide (B G K *S) and y (B O *T)."""
    wide, y = readable(wide, wide.dtype), readable(y, wide.dtype)
    made = wide.new_empty((y.shape[1], wide.shape[1] // groups, *kernel))

    def three(sizes, value):
        return (*(value,) * (3 - len(sizes)), *sizes)

    sizes = (
        *(wide.shape[0], groups, wide.shape[1] // groups, y.shape[1] // groups),
        *(*three(wide.shape[2:], 1), *three(y.shape[2:], 1), *three(kernel, 1)),
        *(*three(stride, 1), *three(low, 0), *three(dilation, 1)),
    )
    _call.run("conv_weight", wide.dtype, (wide, y, made), sizes)
    return made
