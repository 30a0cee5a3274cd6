"""cosine_similarity for torch on the CPU: the native core by pointer.

Maths, shapes and source: bpx/layers/cosine_similarity.py.
"""

import torch

from bpx_torch.kernels.cpu import _call, _losses
from bpx_torch.kernels.cpu._call import readable


def refuses(arrays, dims):
    return _losses.refuses(arrays, arrays[1])


def forward(x1, x2, *, eps):
    dtype = x1.dtype
    x1, x2 = readable(x1, dtype), readable(x2, dtype)
    y = torch.empty(x1.shape[:-1], dtype=dtype)
    _call.run("cosine_forward", dtype, (x1, x2, None, y), (y.numel(), x1.shape[-1], 0), (eps, 0.0))
    return y, ()


def backward(dy, arrays, residuals, needs, *, eps):
    dtype = arrays[0].dtype
    x1, x2, dy = (readable(a, dtype) for a in (*arrays, dy))
    dx1, dx2 = (torch.empty_like(x1) if need else None for need in needs)
    sizes, numbers = (dy.numel(), x1.shape[-1], 0), (eps, 0.0)
    _call.run("cosine_backward", dtype, (dy, x1, x2, None, dx1, dx2, None), sizes, numbers)
    return dx1, dx2
