"""attention for torch on the CPU: the native core by pointer, on torch's own threads.

A block of scores stays in cache between the products that make and use it. A bias and dropout are
the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import torch

from bpx.native.attention import arguments, steps
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _call.refuses(arrays)


def _sizes(query, key, value, mask, options):
    sizes, numbers = arguments(query.shape, key.shape, value.shape, options)
    if mask is None:
        return (*sizes, 0, 0, 0, 0), numbers
    return (*sizes, *steps(mask.shape, mask.stride())), numbers


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    query, key, value = (readable(a, dtype) for a in (query, key, value))
    mask = readable(mask, torch.bool)
    y = query.new_empty((*query.shape[:3], value.shape[3]))
    top, mass = (query.new_empty(query.shape[:3], dtype=wide) for _ in range(2))
    sizes = _sizes(query, key, value, mask, options)
    _call.run("attention_forward", dtype, (query, key, value, mask, y, top, mass), *sizes)
    return y, (y, top, mass)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    dtype, wide = query.dtype, arithmetic(query.dtype)
    dy, query, key, value, y = (readable(a, dtype) for a in (dy, query, key, value, residuals[0]))
    top, mass = (readable(a, wide) for a in residuals[1:])
    mask = readable(mask, torch.bool)
    made = [torch.empty_like(a, dtype=wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options)
    given = (dy, query, key, value, y, top, mass, mask, *made)
    _call.run("attention_backward", dtype, given, *sizes)
    return *made, None, None, None
