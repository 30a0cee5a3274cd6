"""adaptive_avg_pool for PyTorch. Maths, shapes and source: bpx/layers/adaptive_avg_pool.py."""

import torch.nn.functional as F

from bpx.layers.adaptive_avg_pool import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers._adaptive import lengths

POOLS = {3: F.adaptive_avg_pool1d, 4: F.adaptive_avg_pool2d, 5: F.adaptive_avg_pool3d}


def means(x, output_size):
    if x.ndim == 3 and output_size in (None, (None,)):
        return x.clone()  # torch takes no None for one axis
    return POOLS[x.ndim](x, output_size)


def forward(x, *, output_size):
    return means(x, output_size), ()


def backward(dy, arrays, residuals, needs, *, output_size):
    # dx_p = sum of dy_o / n_o over the windows o that hold p. They are themselves window p of S
    # over the O windows: o <= p O / S < o + 1 and the like. The sum is its mean times its length.
    (x,) = arrays
    g = at_least_float32(dy)
    for axis in range(2, x.ndim):
        g = g / lengths(g, axis, x.shape[axis], dy.shape[axis])
    dx = means(g, tuple(x.shape[2:]))
    for axis in range(2, x.ndim):
        dx = dx * lengths(dx, axis, dy.shape[axis], x.shape[axis])
    return (dx,)


def tangent(tangents, arrays, residuals, *, output_size):
    # y is linear in x
    return means(tangents[0], output_size)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.adaptive_avg_pool"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def adaptive_avg_pool(x, *, output_size=1):
    """x (B C *S), one to three axes S; y (B C *O), the means over O windows; 1: over all of S."""
    return RULE(x, output_size=output_size)
