"""upsample_nearest for PyTorch. Maths, shapes and source: bpx/layers/upsample_nearest.py."""

from bpx.layers.upsample_nearest import SPEC
from bpx.rule import Kernel
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers._resize import copied, copies, each_axis, transpose, weighted


def forward(x, *, size, scale_factor, exact):
    y = x
    for axis, s, out, scale in each_axis(x, size, scale_factor):
        y = copied(y, axis, copies(x, s, out, scale, exact))
    return y, ()


def backward(dy, arrays, residuals, needs, *, size, scale_factor, exact):
    # dx_p = sum of dy over the copies of p, which lie in a row: one axis after the other
    (x,) = arrays
    dx = at_least_float32(dy)
    for axis, s, out, scale in each_axis(x, size, scale_factor):
        index = copies(x, s, out, scale, exact)
        dx = weighted(dx, axis, *transpose(index, index, 0.0 * index, s))
    return (dx,)


def tangent(tangents, arrays, residuals, **options):
    # y is linear in x
    return forward(tangents[0], **options)[0]


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.upsample_nearest"),
        Kernel("plain", forward, backward, tangent),
    ),
    autocast={"cuda": "float32"},
)


def upsample_nearest(x, *, size=None, scale_factor=2.0, exact=False):
    """x (B C *S), one to three axes S; y (B C *O), of the given size or scaled by a factor."""
    return RULE(x, size=size, scale_factor=scale_factor, exact=exact)
