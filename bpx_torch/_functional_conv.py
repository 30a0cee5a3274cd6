"""The convolutions of torch.nn.functional over the rules, re-exported by bpx_torch.functional.

Stated differences from torch: an input with an empty spatial axis raises; "same" with uneven zeros
gives no warning that it copies its input.
"""

from bpx.profiles import profiled
from bpx.spec import require
from bpx_torch.layers import conv as _conv
from bpx_torch.layers import conv_transpose as _conv_transpose


@profiled("conv")
def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@profiled("conv")
def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@profiled("conv")
def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    options = (stride, padding, output_padding, groups, dilation)
    return _transpose("conv_transpose1d", 1, input, weight, bias, *options)


def conv_transpose2d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    options = (stride, padding, output_padding, groups, dilation)
    return _transpose("conv_transpose2d", 2, input, weight, bias, *options)


def conv_transpose3d(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    options = (stride, padding, output_padding, groups, dilation)
    return _transpose("conv_transpose3d", 3, input, weight, bias, *options)


def _convolve(entry, n, input, weight, bias, stride, padding, dilation, groups):
    return _batched(
        entry,
        n,
        input,
        lambda x: _conv.conv(
            x,
            weight,
            bias,
            stride=_option(stride),
            padding=_option(padding),
            dilation=_option(dilation),
            groups=groups,
        ),
    )


def _transpose(entry, n, input, weight, bias, stride, padding, output_padding, groups, dilation):
    return _batched(
        entry,
        n,
        input,
        lambda x: _conv_transpose.conv_transpose(
            x,
            weight,
            bias,
            stride=_option(stride),
            padding=_option(padding),
            output_padding=_option(output_padding),
            dilation=_option(dilation),
            groups=groups,
        ),
    )


def _batched(entry, n, input, f):
    require(
        input.ndim in (n + 1, n + 2),
        f"{entry}: input has shape {tuple(input.shape)}, expected {n + 2} axes (B C *S), or "
        f"{n + 1} without a batch",
    )
    return f(input) if input.ndim == n + 2 else f(input.unsqueeze(0)).squeeze(0)


def _option(value):
    """torch takes lists too, and one element for all axes."""
    if not isinstance(value, (list, tuple)):
        return value
    return value[0] if len(value) == 1 else tuple(value)
