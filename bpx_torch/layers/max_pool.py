"""max_pool for PyTorch. Maths, shapes and source: bpx/layers/max_pool.py."""

import torch.nn.functional as F

from bpx.layers.max_pool import SPEC
from bpx.rule import Kernel
from bpx_torch._rule import Rule
from bpx_torch.layers._window import give, take

POOLS = {3: F.max_pool1d, 4: F.max_pool2d, 5: F.max_pool3d}


def forward(x, **options):
    if x.ndim == 3:  # torch's own without places reads the memory of one whose sign is pending
        return F.max_pool1d(x, **options, return_indices=True)[0], ()
    return POOLS[x.ndim](x, **options), ()


def winners(x, options):
    """Where the maximum of each window lies, along the flattened spatial axes."""
    return POOLS[x.ndim](x.detach(), **options, return_indices=True)[1]


def backward(dy, arrays, residuals, needs, **options):
    # dx_p = sum of dy over the windows whose maximum lies at p
    # keeping the positions would cost 8 bytes a window: they are found again
    (x,) = arrays
    return (give(dy, winners(x, options), x),)


def tangent(tangents, arrays, residuals, **options):
    # dy_o = dx at the maximum of window o
    (x,) = arrays
    return take(tangents[0], winners(x, options))


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.max_pool"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def max_pool(x, *, kernel_size=2, stride=None, padding=0, dilation=1, ceil_mode=False):
    """x (B C *S), one to three axes S; y (B C *O). The first of equal maxima gets the gradient."""
    return RULE(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
