"""attention for torch on the CPU: the native core by pointer, on torch's own threads.

A block of scores stays in cache between the products that make and use it. Arrays whose last axis
has no gaps are read as they lie, and the results take their order of axes: heads that were split
from features, and are joined again, are not copied. A bias and dropout are the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import torch

from bpx.native.attention import arguments, steps, strides
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _call.refuses(arrays)


def _sizes(query, key, value, mask, options, *more):
    sizes, numbers = arguments(query.shape, key.shape, value.shape, options)
    masked = (0, 0, 0, 0) if mask is None else steps(mask.shape, mask.stride())
    of_arrays = strides(*(a.stride() for a in (query, key, value, *more)))
    return (*sizes, *masked, *of_arrays), numbers


def _rows(a, dtype):
    """`a` as the kernel reads it, contiguous in its last axis alone."""
    if a.dtype == dtype and a.stride(-1) == 1 and not (a.is_neg() or a._is_zerotensor()):
        return a
    return readable(a, dtype)


def _made(like, columns, dtype):
    """An array like `like` but for its columns, in the same order of axes."""
    b, h, t, _ = like.shape
    if like.stride(1) < like.stride(2):
        return torch.empty((b, t, h, columns), dtype=dtype).transpose(1, 2)
    return torch.empty((b, h, t, columns), dtype=dtype)


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    query, key, value = (_rows(a, dtype) for a in (query, key, value))
    mask = readable(mask, torch.bool)
    y = _made(query, value.shape[3], dtype)
    top, mass = (query.new_empty(query.shape[:3], dtype=wide) for _ in range(2))
    sizes = _sizes(query, key, value, mask, options, y)
    _call.run("attention_forward", dtype, (query, key, value, mask, y, top, mass), *sizes)
    return y, (y, top, mass)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    dtype, wide = query.dtype, arithmetic(query.dtype)
    dy, query, key, value, y = (_rows(a, dtype) for a in (dy, query, key, value, residuals[0]))
    top, mass = (readable(a, wide) for a in residuals[1:])
    mask = readable(mask, torch.bool)
    made = [_made(a, a.shape[3], wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options, y, dy, *made)
    given = (dy, query, key, value, y, top, mass, mask, *made)
    _call.run("attention_backward", dtype, given, *sizes)
    return *made, None, None, None
