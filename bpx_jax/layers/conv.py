"""conv for JAX. Maths, shapes and source: bpx/layers/conv.py."""

from bpx.layers.conv import SPEC
from bpx.rule import Kernel
from bpx_jax._dtype import at_least_float32
from bpx_jax._rule import Rule
from bpx_jax.layers._conv import along_channels, match, narrow, per_axis, widen


def axes(kernel, stride, padding, dilation):
    """Stride, zeros before and in all around each axis, and dilation, one for each axis."""
    n = len(kernel)
    dilation = per_axis(dilation, n)
    if padding == "same":
        total = tuple(d * (w - 1) for d, w in zip(dilation, kernel, strict=True))
        low = tuple(t // 2 for t in total)
    else:
        low = per_axis(0 if padding == "valid" else padding, n)
        total = tuple(2 * p for p in low)
    return per_axis(stride, n), low, total, dilation


def forward(x, weight, bias, *, stride, padding, dilation, groups):
    kernel = weight.shape[2:]
    stride, low, total, dilation = axes(kernel, stride, padding, dilation)
    count = tuple(
        (size + p - d * (w - 1) - 1) // s + 1
        for size, p, d, w, s in zip(x.shape[2:], total, dilation, kernel, stride, strict=True)
    )
    y = narrow(x, weight, count, stride, low, dilation, groups)
    return (y if bias is None else y + along_channels(bias, y)), ()


def backward(dy, arrays, residuals, needs, *, stride, padding, dilation, groups):
    # dx      = the convolution of dy by weight, transposed, over the sizes of x
    # dweight = x matched with dy: a convolution with batch and channels exchanged
    # dbias   = sum(dy) over rows and places
    x, weight, _ = arrays
    kernel = weight.shape[2:]
    stride, low, _, dilation = axes(kernel, stride, padding, dilation)
    dx = widen(dy, weight, x.shape[2:], stride, low, dilation, groups)
    dweight = match(x, dy, kernel, stride, low, dilation, groups)
    dbias = at_least_float32(dy).sum((0, *range(2, dy.ndim))) if needs[2] else None
    return dx, dweight, dbias


RULE = Rule(SPEC, (Kernel("plain", forward, backward),))


def conv(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Convolution of x (B C *S) by weight (O C/groups *W), bias (O). Maths: bpx/layers/conv.py."""
    return RULE(x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
