"""avg_pool for PyTorch. Maths, shapes and source: bpx/layers/avg_pool.py."""

import torch.nn.functional as F

from bpx.layers.avg_pool import SPEC
from bpx.rule import Kernel
from bpx.spec import SpecError
from bpx_torch._dtype import at_least_float32
from bpx_torch._rule import Rule
from bpx_torch.layers._window import counted, spread, windows


def forward(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override):
    k, s, p = windows(x.ndim - 2, kernel_size, stride, padding)
    how = (ceil_mode, count_include_pad)
    if x.ndim == 5:
        if any(a > b for a, b in zip(k, x.shape[2:], strict=True)):
            raise SpecError(
                f"avg_pool: kernel_size is {k}, expected at most the sizes {tuple(x.shape[2:])}, "
                "since torch's own over three axes leaves padding out here"
            )
        xf = at_least_float32(x)  # torch has no bfloat16 here on the CPU
        return F.avg_pool3d(xf, k, s, p, *how, divisor_override).to(x.dtype), ()
    if x.ndim == 4:
        return F.avg_pool2d(x, k, s, p, *how, divisor_override), ()
    # torch's avg_pool1d takes no divisor
    y = F.avg_pool2d(x.unsqueeze(2), (1, *k), (1, *s), (0, *p), *how, divisor_override)
    return y.squeeze(2), ()


def backward(
    dy,
    arrays,
    residuals,
    needs,
    *,
    kernel_size,
    stride,
    padding,
    ceil_mode,
    count_include_pad,
    divisor_override,
):
    # dx_p = sum of dy_o / divisor_o over the windows o that hold p: one axis after the other
    (x,) = arrays
    dx = at_least_float32(dy)
    if divisor_override is not None:
        dx = dx / divisor_override
    each = zip(*windows(x.ndim - 2, kernel_size, stride, padding), strict=True)
    for axis, window in enumerate(each, 2):
        size = x.shape[axis]
        if divisor_override is None:
            dx = dx / counted(dx, axis, size, *window, count_include_pad)
        dx = spread(dx, axis, size, *window)
    return (dx,)


def tangent(tangents, arrays, residuals, **options):
    # y is linear in x
    return forward(tangents[0], **options)[0]


RULE = Rule(
    SPEC,
    (
        Kernel.lazy("cpu", "bpx_torch.kernels.cpu.avg_pool"),
        Kernel("plain", forward, backward, tangent),
    ),
)


def avg_pool(
    x,
    *,
    kernel_size=2,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """x (B C *S), one to three axes S; y (B C *O), the means over windows."""
    return RULE(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        divisor_override=divisor_override,
    )
