"""attention for torch on the CPU: the native core by pointer, on torch's own threads.

A block of scores stays in cache between the products that make and use it. A bias and dropout are
the plain rule's.
Maths, shapes and source: bpx/layers/attention.py.
"""

import math

import torch

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import arithmetic, readable


def refuses(arrays, dims):
    query, key, value, bias, _, dropout_key = arrays
    if bias is not None or dropout_key is not None:
        return "a bias and dropout are the plain rule's"
    if key.dtype != query.dtype or value.dtype != query.dtype:
        return f"key is {key.dtype}, value {value.dtype} beside {query.dtype}"
    return _call.refuses(arrays)


def _steps(a):
    """From one element to the next in each dim, 0 where there is one."""
    if a is None:
        return (0,) * 4
    return tuple(0 if n == 1 else s for n, s in zip(a.shape, a.stride(), strict=True))


def _sizes(query, key, value, mask, options):
    (b, h, t, d), (k, s) = query.shape, key.shape[1:3]
    left, right = options["window"] or (None, None)
    right = 0 if options["causal"] else right
    left, right = (max(t, s) if n is None else min(n, max(t, s)) for n in (left, right))
    cap, scale = options["softcap"], options["scale"]
    sizes = (b, h, k, t, s, d, value.shape[3], left, right, int(cap is not None))
    numbers = 1 / math.sqrt(d) if scale is None else scale, 1.0 if cap is None else cap
    return (*sizes, *_steps(mask)), numbers


def forward(query, key, value, bias, mask, dropout_key, **options):
    dtype, wide = query.dtype, arithmetic(query.dtype)
    query, key, value = (readable(a, dtype) for a in (query, key, value))
    mask = readable(mask, torch.bool)
    y = query.new_empty((*query.shape[:3], value.shape[3]))
    lse = query.new_empty(query.shape[:3], dtype=wide)
    sizes = _sizes(query, key, value, mask, options)
    _call.run("attention_forward", dtype, (query, key, value, mask, y, lse), *sizes)
    return y, (y, lse)


def backward(dy, arrays, residuals, needs, **options):
    query, key, value, _, mask, _ = arrays
    dtype, wide = query.dtype, arithmetic(query.dtype)
    dy, query, key, value, y = (readable(a, dtype) for a in (dy, query, key, value, residuals[0]))
    lse, mask = readable(residuals[1], wide), readable(mask, torch.bool)
    made = [torch.empty_like(a, dtype=wide) for a in (query, key, value)]
    sizes = _sizes(query, key, value, mask, options)
    given = (dy, query, key, value, y, lse, mask, *made)
    _call.run("attention_backward", dtype, given, *sizes)
    return *made, None, None, None
