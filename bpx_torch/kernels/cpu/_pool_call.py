"""The pools for torch on the CPU: the native core by pointer. The kernels read whole planes; an x
with its channels behind the places (channels_last) is copied and the result laid out like it."""

import torch

from bpx.native import windows
from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable


def maxima(x, axes):
    """y (B C *O)."""
    behind = channels_behind(x)
    x = readable(x, x.dtype)
    y = x.new_empty((*x.shape[:2], *windows.outputs(axes, x.ndim - 2)))
    _call.run("max_pool", x.dtype, (x, None, y), windows.flat(x.shape[:2], axes))
    return put_behind(y) if behind else y


def maxima_backward(dy, x, axes):
    behind = channels_behind(x)
    x, dy = readable(x, x.dtype), readable(dy, x.dtype)
    dx = torch.empty_like(x)
    _call.run("max_pool", x.dtype, (x, dy, dx), windows.flat(x.shape[:2], axes))
    return put_behind(dx) if behind else dx


def means(x, axes, with_padding=True, divisor=None):
    """y (B C *O)."""
    behind = channels_behind(x)
    x = readable(x, x.dtype)
    y = x.new_empty((*x.shape[:2], *windows.outputs(axes, x.ndim - 2)))
    sizes = windows.flat(x.shape[:2], axes, with_padding, divisor or 0)
    _call.run("avg_pool_forward", x.dtype, (x, y), sizes)
    return put_behind(y) if behind else y


def means_backward(dy, x, axes, with_padding=True, divisor=None):
    """dx; of x the shape and the dtype are looked at."""
    behind = channels_behind(dy)
    dy = readable(dy, x.dtype)
    dx = dy.new_empty(x.shape)
    sizes = windows.flat(x.shape[:2], axes, with_padding, divisor or 0)
    _call.run("avg_pool_backward", x.dtype, (dy, dx), sizes)
    return put_behind(dx) if behind else dx
