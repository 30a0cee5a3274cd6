"""dropout for torch on the CPU, on torch's own threads, and the mask of a key. Maths, shapes and
source: bpx/layers/dropout.py."""

import torch

from bpx import native
from bpx_torch.kernels import _opaque
from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable


def refuses(arrays, dims):
    return _call.refuses(arrays)


def masked(x, bits, p, broadcast_dims):
    """x / (1 - p) where the mask keeps, else 0. The kernel wants dims that share a bit last."""
    behind = channels_behind(x)
    x, each, back = _opaque.sharing_last(x, broadcast_dims)
    x, bits = readable(x, x.dtype), readable(bits, torch.uint8)
    y = torch.empty_like(x)
    factor = 0.0 if p == 1 else 1 / (1 - p)
    _call.run("dropout", x.dtype, (x, bits, y), (x.numel(), each), (factor,))
    y = back(y)
    return put_behind(y) if behind else y.contiguous()


def forward(x, bits, *, p, broadcast_dims):
    return masked(x, bits, p, broadcast_dims), ()


def backward(dy, arrays, residuals, needs, *, p, broadcast_dims):
    return masked(dy, arrays[1], p, broadcast_dims), None


def refuses_key(key, count):
    """None, or why the mask of this key for `count` elements is not drawn here."""
    if (reason := _opaque.refuses((key,))) is not None:
        return reason
    if not key.is_cpu or key.dtype != torch.uint32 or key.shape != (2,) or count == 0:
        return "the key is not uint32 (2,) on the CPU, or there is nothing to draw"
    return native.available()


def keep_bits(key, count, least):
    """The packed mask of a key (uint32 (2,)): a word below `least` drops its element."""
    key = readable(key, torch.uint32)
    bits = torch.empty(-(-count // 8), dtype=torch.uint8)
    _call.run("keep_bits", torch.uint8, (key, bits), (count, least))
    return bits
