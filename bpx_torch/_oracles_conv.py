"""torch's own convolutions, for bpx_torch/oracles.py."""

import warnings

import torch.nn.functional as F

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    with warnings.catch_warnings():
        # torch says that "same" may copy x where the zeros are uneven
        warnings.simplefilter("ignore", UserWarning)
        return CONV[x.ndim - 2](x, weight, bias, stride, padding, dilation, groups)


def _conv_transpose(
    x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1
):
    f = CONV_TRANSPOSE[x.ndim - 2]
    return f(x, weight, bias, stride, padding, output_padding, groups, dilation)


ORACLES = {"conv": _conv, "conv_transpose": _conv_transpose}
DIFFERS: dict[str, dict[str, str]] = {}
