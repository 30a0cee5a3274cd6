"""Resizing for torch on the CPU: the native core by pointer. An x with its channels behind the
places (channels_last) is copied and the result laid out as x."""

from bpx_torch.kernels.cpu import _call
from bpx_torch.kernels.cpu._call import readable
from bpx_torch.kernels.cpu._layout import channels_behind, put_behind
from bpx_torch.kernels.cpu._windows import each_axis


def sizes(shape, size, scale_factor, flag):
    """(sizes of y, the sizes and the numbers of a call) for x (B C *S)."""
    n, spatial = len(shape) - 2, shape[2:]
    if size is not None:
        outs, scales = each_axis(size, n), (0.0,) * n
    else:
        scales = each_axis(scale_factor, n)
        outs = tuple(int(s * f) for s, f in zip(spatial, scales, strict=True))
    axes = [1, 1] * (3 - n)
    for s, out in zip(spatial, outs, strict=True):
        axes += [s, out]
    numbers = (*[0.0] * (3 - n), *(float(f) for f in scales))
    return (*shape[:2], *outs), (shape[0] * shape[1], n, *axes, flag), numbers


def forward(name, x, *how):
    behind = channels_behind(x)
    x = readable(x, x.dtype)
    shape, integers, numbers = sizes(x.shape, *how)
    y = x.new_empty(shape)
    _call.run(f"{name}_forward", x.dtype, (x, y), integers, numbers)
    return put_behind(y) if behind else y


def backward(name, dy, x, *how):
    """dx; of x the shape and the dtype are looked at."""
    behind = channels_behind(dy)
    dy = readable(dy, x.dtype)
    _, integers, numbers = sizes(x.shape, *how)
    dx = dy.new_empty(x.shape)
    _call.run(f"{name}_backward", x.dtype, (dy, dx), integers, numbers)
    return put_behind(dx) if behind else dx
