"""Resizing for torch on the CPU: the native core by pointer. An x with its channels behind the
places (channels_last) is copied and the result laid out as x."""

from bpx.native.windows import resized
from bpx_torch.kernels._layout import channels_behind, put_behind
from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable


def forward(name, x, *how):
    behind = channels_behind(x)
    x = readable(x, x.dtype)
    shape, integers, numbers = resized(x.shape, *how)
    y = x.new_empty(shape)
    _call.run(f"{name}_forward", x.dtype, (x, y), integers, numbers)
    return put_behind(y) if behind else y


def backward(name, dy, x, *how):
    """dx; of x the shape and the dtype are looked at."""
    behind = channels_behind(dy)
    dy = readable(dy, x.dtype)
    _, integers, numbers = resized(x.shape, *how)
    dx = dy.new_empty(x.shape)
    _call.run(f"{name}_backward", x.dtype, (dy, dx), integers, numbers)
    return put_behind(dx) if behind else dx
