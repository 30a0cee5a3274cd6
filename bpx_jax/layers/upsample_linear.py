"""upsample_linear for JAX. Maths, shapes and source: bpx/layers/upsample_linear.py."""

import numpy as np

from bpx.layers.upsample_linear import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._resize import each_axis, linear, transpose, weighted


def forward(x, *, size, scale_factor, align_corners):
    y = at_least_float32(x)
    for axis, s, out, scale in each_axis(x, size, scale_factor):
        low, high, t = linear(s, out, scale, align_corners)
        y = weighted(y, axis, np.stack([low, high], 1), np.stack([1 - t, t], 1))
    return y.astype(x.dtype), ()


def backward(dy, arrays, residuals, needs, *, size, scale_factor, align_corners):
    # dx_p = sum_i w_ip dy_i, w_ip = (1 - t) [low = p] + t [high = p]: one axis after the other
    (x,) = arrays
    dx = at_least_float32(dy)
    for axis, s, out, scale in each_axis(x, size, scale_factor):
        dx = weighted(dx, axis, *transpose(*linear(s, out, scale, align_corners), s))
    return (dx,)


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_jax.kernels.cpu.upsample_linear"),
        Kernel("plain", forward, backward),
    ),
)


def upsample_linear(x, *, size=None, scale_factor=2.0, align_corners=False):
    """x (B C *S), one to three axes S; y (B C *O), of the given size or scaled by a factor."""
    return RULE(x, size=size, scale_factor=scale_factor, align_corners=align_corners)
