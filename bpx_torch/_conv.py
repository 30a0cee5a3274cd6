"""The three maps of a convolution, linear in each of their two arrays: between the wide array
(the input of a convolution), the narrow one (its output) and the weight (O K *W)."""

import torch
import torch.nn.functional as F
from torch._C._functorch import is_batchedtensor

from bpx_torch._dtype import at_least_float32

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def per_axis(value, n):
    return value if isinstance(value, tuple) else (value,) * n


def narrow(wide, weight, bias, stride, padding, dilation, groups):
    """The convolution of wide by weight."""
    return CONV[wide.ndim - 2](wide, weight, bias, stride, padding, dilation, groups)


def padded_behind(x, more):
    """x with so many zeros behind each spatial axis."""
    return F.pad(x, [part for m in reversed(more) for part in (0, m)]) if any(more) else x


def widen(y, weight, sizes, stride, low, dilation, groups):
    """The transposed convolution of y, with spatial `sizes`: what lies before `low` or behind the
    sizes is cut off, what no window reaches is 0."""
    n = y.ndim - 2
    reached = tuple(
        (t - 1) * s - 2 * p + d * (w - 1) + 1
        for t, s, p, d, w in zip(y.shape[2:], stride, low, dilation, weight.shape[2:], strict=True)
    )
    # the tail that the stride dropped; an uneven "same" has one element too many instead
    tail = tuple(max(size - r, 0) for size, r in zip(sizes, reached, strict=True))
    return cut(CONV_TRANSPOSE[n](y, weight, None, stride, low, tail, groups, dilation), sizes)


def cut(wide, sizes):
    """Without what lies behind the spatial `sizes`."""
    for axis, size in enumerate(sizes, 2):
        if wide.shape[axis] != size:
            wide = wide.narrow(axis, 0, size)
    return wide


def match(wide, y, kernel, stride, low, dilation, groups):
    """sum_{b, t} y[b, o, t] wide[b, g K + k, t stride + w dilation - low] as (O K *W).

    A convolution with batch and channels exchanged, stride and dilation too: the groups become
    groups of channels (G B), each row of the batch a channel, each channel of a group a row.
    """
    rows, channels, *sizes = wide.shape
    outs, per = y.shape[1], channels // groups
    if rows == 0:
        return wide.new_zeros((outs, per, *kernel))
    # an uneven "same" has more zeros behind the array than before it
    more = tuple(
        max((t - 1) * s + d * (w - 1) + 1 - size - 2 * p, 0)
        for t, s, d, w, size, p in zip(
            y.shape[2:], stride, dilation, kernel, sizes, low, strict=True
        )
    )
    wide = padded_behind(wide, more)
    sizes = wide.shape[2:]
    exchanged = wide.reshape(rows, groups, per, *sizes).transpose(0, 2)
    exchanged = exchanged.reshape(per, groups * rows, *sizes)
    found = CONV[len(sizes)](exchanged, y.transpose(0, 1), None, dilation, low, stride, groups)
    for axis, w in enumerate(kernel, 2):
        found = found.narrow(axis, 0, w)  # the dropped tail gives offsets beyond the kernel
    return found.transpose(0, 1)


def parameters(x, dy, weight, stride, low, dilation, groups, needs, match=match):
    """(dweight, dbias) of a convolution, x matched with dy and dy summed over rows and places;
    each None where it is not needed."""
    dweight = dbias = None
    if needs[0]:
        dweight = match(x, dy, weight.shape[2:], stride, low, dilation, groups)
    if needs[1]:
        dbias = at_least_float32(dy).sum((0, *range(2, dy.ndim)))
    return dweight, dbias


def laid_like(a, *others):
    """`a` in channels_last where one of the others is, contiguous elsewhere: as torch has it."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(a.ndim)
    if last is not None and any(_is_last(o, last) for o in others):
        return a.contiguous(memory_format=last)
    return a.contiguous()


def _is_last(a, last):
    if is_batchedtensor(a):  # vmap answers for contiguous alone
        return False
    return a.is_contiguous(memory_format=last) and not a.is_contiguous()


def along_channels(bias, y):
    """bias (O) beside y (B O *Y)."""
    return bias.reshape(1, -1, *(1,) * (y.ndim - 2))
