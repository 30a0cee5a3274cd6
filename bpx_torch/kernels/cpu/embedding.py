"""embedding for torch on the CPU, on torch's own threads: rows copied, and their gradients added in
the order of the indices, whatever the number of threads. Maths, shapes and source:
bpx/layers/embedding.py."""

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable

WIDTHS = {torch.int32: 4, torch.int64: 8}


def refuses(arrays, dims):
    indices, weight = arrays
    return _call.refuses((weight, indices))


def wide(indices):
    """Indices as the kernel reads them."""
    return readable(indices, indices.dtype if indices.dtype in WIDTHS else torch.int64)


def forward(indices, weight, *, padding_idx):
    dtype, index = weight.dtype, wide(indices)
    weight = readable(weight, dtype)
    y = weight.new_empty((*indices.shape, weight.shape[1]))
    sizes = (index.numel(), *weight.shape, WIDTHS[index.dtype])
    _call.run("embedding_forward", dtype, (weight, index, y), sizes)
    return y, ()


def backward(dy, arrays, residuals, needs, *, padding_idx):
    indices, weight = arrays  # of weight its shape and dtype alone
    if not needs[1]:
        return None, None
    dtype, index = weight.dtype, wide(indices)
    dy = readable(dy, dtype)
    dweight = dy.new_empty(weight.shape, dtype=arithmetic(dtype))
    constant = -1 if padding_idx is None else padding_idx
    sizes = (index.numel(), *weight.shape, WIDTHS[index.dtype], constant)
    _call.run("embedding_backward", dtype, (dy, index, dweight), sizes)
    return None, dweight
