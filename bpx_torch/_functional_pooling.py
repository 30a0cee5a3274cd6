"""The pools of torch.nn.functional over the rules of bpx, re-exported by bpx_torch.functional.

Inputs are floating (torch pools integers too), with a batch axis or without. Positions of maxima
(return_indices) have no gradient.
"""

import torch

from bpx.spec import SpecError
from bpx_torch._dtype import at_least_float32
from bpx_torch.layers import adaptive_avg_pool as _adaptive_avg
from bpx_torch.layers import adaptive_max_pool as _adaptive_max
from bpx_torch.layers import avg_pool as _avg
from bpx_torch.layers import max_pool as _max


def max_pool1d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", 1, input, window, return_indices)


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", 2, input, window, return_indices)


def max_pool3d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool3d", 3, input, window, return_indices)


def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    how = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool("avg_pool1d", 1, input, *how)


def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    how = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool2d", 2, input, *how)


def avg_pool3d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    how = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool3d", 3, input, *how)


def adaptive_avg_pool1d(input, output_size):
    x = _batched("adaptive_avg_pool1d", input, 1)
    y = _adaptive_avg.adaptive_avg_pool(x, output_size=_numbers(output_size))
    return _as_given(y, input, 1)


def adaptive_avg_pool2d(input, output_size):
    x = _batched("adaptive_avg_pool2d", input, 2)
    y = _adaptive_avg.adaptive_avg_pool(x, output_size=_numbers(output_size))
    return _as_given(y, input, 2)


def adaptive_avg_pool3d(input, output_size):
    x = _batched("adaptive_avg_pool3d", input, 3)
    y = _adaptive_avg.adaptive_avg_pool(x, output_size=_numbers(output_size))
    return _as_given(y, input, 3)


def adaptive_max_pool1d(input, output_size, return_indices=False):
    return _adaptive_max_pool("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input, output_size, return_indices=False):
    return _adaptive_max_pool("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input, output_size, return_indices=False):
    return _adaptive_max_pool("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _max_pool(entry, n, input, window, return_indices):
    kernel_size, stride, padding, dilation, ceil_mode = window
    options = {
        "kernel_size": _numbers(kernel_size),
        "stride": _numbers(stride),
        "padding": _numbers(padding),
        "dilation": _numbers(dilation),
        "ceil_mode": ceil_mode,
    }
    x = _batched(entry, input, n, as_given=return_indices)
    y = _max.max_pool(x, **options)
    if not return_indices:
        return _as_given(y, input, n)
    return _as_given(y, input, n), _as_given(_max.winners(x, options), input, n)


def _adaptive_max_pool(entry, n, input, output_size, return_indices):
    x, output_size = _batched(entry, input, n), _numbers(output_size)
    y = _adaptive_max.adaptive_max_pool(x, output_size=output_size)
    if not return_indices:
        return _as_given(y, input, n)
    return _as_given(y, input, n), _as_given(_adaptive_max.winners(x, output_size), input, n)


def _avg_pool(entry, n, input, kernel_size, stride, padding, ceil_mode, with_padding, divisor):
    x = _batched(entry, input, n)
    y = _avg.avg_pool(
        x,
        kernel_size=_numbers(kernel_size),
        stride=_numbers(stride),
        padding=_numbers(padding),
        ceil_mode=ceil_mode,
        count_include_pad=with_padding,
        divisor_override=divisor,
    )
    return _as_given(y, input, n)


def _batched(entry, input, n, as_given=False):
    """input with a batch axis in front, if it has none. Autocast takes torch's pools over three
    axes to float32 on a CPU, but for the one operation that gives maxima with their places."""
    if input.ndim not in (n + 1, n + 2):
        raise SpecError(
            f"{entry}: input has shape {tuple(input.shape)}, expected {n + 2} axes, or {n + 1} "
            "without a batch"
        )
    if n == 3 and not as_given and input.is_cpu and torch.is_autocast_enabled("cpu"):
        input = at_least_float32(input)
    return input.unsqueeze(0) if input.ndim == n + 1 else input


def _as_given(y, input, n):
    """y without a batch axis, if input has none."""
    return y.squeeze(0) if input.ndim == n + 1 else y


def _numbers(value):
    """A list as a tuple, and a tuple of one as its number, which torch takes for every axis."""
    if not isinstance(value, (list, tuple)):
        return value
    return value[0] if len(value) == 1 else tuple(value)


_REASONS = {
    "pooling: not written yet": """max_unpool1d max_unpool2d max_unpool3d lp_pool1d lp_pool2d
        lp_pool3d fractional_max_pool2d fractional_max_pool3d fractional_max_pool2d_with_indices
        fractional_max_pool3d_with_indices""",
    "the function without _with_indices has return_indices": """max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool1d_with_indices
        adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices""",
}
GAPS = {name: reason for reason, names in _REASONS.items() for name in names.split()}
