"""conv_transpose for JAX. Maths, shapes and source: bpx/layers/conv_transpose.py."""

from bpx.layers.conv_transpose import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._conv import along_channels, match, narrow, per_axis, widen


def forward(x, weight, bias, *, stride, padding, output_padding, dilation, groups):
    n, kernel = x.ndim - 2, weight.shape[2:]
    stride, low, dilation = (per_axis(v, n) for v in (stride, padding, dilation))
    sizes = tuple(
        (s - 1) * step - 2 * p + d * (w - 1) + 1 + more
        for s, step, p, d, w, more in zip(
            x.shape[2:], stride, low, dilation, kernel, per_axis(output_padding, n), strict=True
        )
    )
    y = widen(x, weight, sizes, stride, low, dilation, groups)
    return (y if bias is None else y + along_channels(bias, y)), ()


def backward(dy, arrays, residuals, needs, *, stride, padding, output_padding, dilation, groups):
    # dx      = the convolution of dy by weight, as many windows as x has places
    # dweight = dy matched with x: a convolution with batch and channels exchanged
    # dbias   = sum(dy) over rows and places
    x, weight, _ = arrays
    n, kernel = x.ndim - 2, weight.shape[2:]
    stride, low, dilation = (per_axis(v, n) for v in (stride, padding, dilation))
    dx = narrow(dy, weight, x.shape[2:], stride, low, dilation, groups)
    dweight = match(dy, x, kernel, stride, low, dilation, groups)
    dbias = at_least_float32(dy).sum((0, *range(2, dy.ndim))) if needs[2] else None
    return dx, dweight, dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def conv_transpose(
    x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1
):
    """Transposed convolution of x (B C *S) by weight (C K *W), bias (K groups). Maths:
    bpx/layers/conv_transpose.py."""
    return RULE(
        x,
        weight,
        bias,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
