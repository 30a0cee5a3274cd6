"""The windows of the pools as the native core reads them, for torch: three axes, the front ones of
size 1 where there are fewer, each (length, outputs, size, stride, padding, dilation)."""

import math


def each_axis(value, n):
    """One number for each of n axes."""
    return value if isinstance(value, tuple) else (value,) * n


def given(sizes, kernel_size, stride, padding, dilation, ceil_mode):
    """Of windows of a given size."""
    n = len(sizes)
    stride = kernel_size if stride is None else stride
    each = (each_axis(v, n) for v in (kernel_size, stride, padding, dilation))
    axes = [(1, 1, 1, 1, 0, 1)] * (3 - n)
    for s, k, step, pad, d in zip(sizes, *each, strict=True):
        room = s + 2 * pad - d * (k - 1) - 1
        out = (room + step - 1 if ceil_mode else room) // step + 1
        # no window begins behind the elements and the padding before them
        if ceil_mode and (out - 1) * step >= s + pad:
            out -= 1
        axes.append((s, out, k, step, pad, d))
    return axes


def adaptive(sizes, output_size):
    """Of a given number of windows; size 0 says so."""
    outs = each_axis(output_size, len(sizes))
    axes = [(1, 1, 0, 1, 0, 1)] * (3 - len(sizes))
    return axes + [(s, s if o is None else o, 0, 1, 0, 1) for s, o in zip(sizes, outs, strict=True)]


def outputs(axes, n):
    """The sizes of the output along n axes."""
    return tuple(axis[1] for axis in axes[3 - n :])


def flat(planes, axes, *more):
    """The sizes of a call: the number of planes, the axes, and what else there is."""
    return (math.prod(planes), *(number for axis in axes for number in axis), *more)
