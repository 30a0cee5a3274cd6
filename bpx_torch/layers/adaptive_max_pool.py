"""adaptive_max_pool for PyTorch. Maths, shapes and source: bpx/layers/adaptive_max_pool.py."""

import torch.nn.functional as F

from bpx.layers.adaptive_max_pool import SPEC
from bpx.rule import Kernel
from bpx_torch._rule import Rule
from bpx_torch.layers._window import give, take

POOLS = {3: F.adaptive_max_pool1d, 4: F.adaptive_max_pool2d, 5: F.adaptive_max_pool3d}


def sizes(x, output_size):
    each = output_size if isinstance(output_size, tuple) else (output_size,) * (x.ndim - 2)
    return tuple(s if o is None else o for s, o in zip(x.shape[2:], each, strict=True))


def forward(x, *, output_size):
    return POOLS[x.ndim](x, sizes(x, output_size)), ()


def winners(x, output_size):
    """Where the maximum of each window lies, along the flattened spatial axes."""
    return POOLS[x.ndim](x.detach(), sizes(x, output_size), return_indices=True)[1]


def backward(dy, arrays, residuals, needs, *, output_size):
    # dx_p = sum of dy over the windows whose maximum lies at p
    # keeping the positions would cost 8 bytes a window: they are found again
    (x,) = arrays
    return (give(dy, winners(x, output_size), x),)


def tangent(tangents, arrays, residuals, *, output_size):
    # dy_o = dx at the maximum of window o
    (x,) = arrays
    return take(tangents[0], winners(x, output_size))


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.adaptive_max_pool"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def adaptive_max_pool(x, *, output_size=1):
    """x (B C *S), one to three axes S; y (B C *O), the maxima over O windows; 1: over all of S."""
    return RULE(x, output_size=output_size)
