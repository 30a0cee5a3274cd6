"""The three maps of a convolution, linear in each of their two arrays: between the wide array
(the input of a convolution), the narrow one (its output) and the weight (O K *W)."""

import jax.numpy as jnp
from jax import lax


def per_axis(value, n):
    return value if isinstance(value, tuple) else (value,) * n


def plain_order(n):
    """Batch, channels, then n spatial axes, in all three arrays."""
    order = tuple(range(n + 2))
    return lax.ConvDimensionNumbers(order, order, order)


def exchanged_order(n):
    """Batch and channels exchanged in all three arrays."""
    order = (1, 0, *range(2, n + 2))
    return lax.ConvDimensionNumbers(order, order, order)


def narrow(wide, weight, count, stride, low, dilation, groups):
    """The convolution of wide by weight, `count` windows along each axis."""
    high = tuple(
        (t - 1) * s + d * (w - 1) + 1 - size - p
        for t, s, d, w, size, p in zip(
            count, stride, dilation, weight.shape[2:], wide.shape[2:], low, strict=True
        )
    )
    return lax.conv_general_dilated(
        wide,
        weight,
        stride,
        tuple(zip(low, high, strict=True)),
        rhs_dilation=dilation,
        dimension_numbers=plain_order(wide.ndim - 2),
        feature_group_count=groups,
    )


def widen(y, weight, sizes, stride, low, dilation, groups):
    """The transposed convolution of y, with spatial `sizes`: what lies before `low` or behind the
    sizes is cut off, what no window reaches is 0.

    y with stride - 1 zeros between its elements, convolved by the weight turned around, channels
    of output and input exchanged within each group.
    """
    outs, per, *kernel = weight.shape
    n = len(kernel)
    turned = jnp.flip(weight, tuple(range(2, n + 2))).reshape(groups, outs // groups, per, *kernel)
    turned = turned.swapaxes(1, 2).reshape(groups * per, outs // groups, *kernel)
    spans = tuple(d * (w - 1) for d, w in zip(dilation, kernel, strict=True))
    around = tuple(
        (span - p, size + p - ((t - 1) * s + 1))
        for span, p, size, t, s in zip(spans, low, sizes, y.shape[2:], stride, strict=True)
    )
    return lax.conv_general_dilated(
        y,
        turned,
        (1,) * n,
        around,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        dimension_numbers=plain_order(n),
        feature_group_count=groups,
    )


def match(wide, y, kernel, stride, low, dilation, groups):
    """sum_{b, t} y[b, o, t] wide[b, g K + k, t stride + w dilation - low] as (O K *W).

    A convolution with batch and channels exchanged, stride and dilation too; a negative padding
    leaves out the tail that the stride dropped.
    """
    if wide.shape[0] == 0:
        return jnp.zeros((y.shape[1], wide.shape[1] // groups, *kernel), wide.dtype)
    around = tuple(
        (p, d * (w - 1) + s * (t - 1) + 1 - size - p)
        for p, d, w, s, t, size in zip(
            low, dilation, kernel, stride, y.shape[2:], wide.shape[2:], strict=True
        )
    )
    return lax.conv_general_dilated(
        wide,
        y,
        dilation,
        around,
        rhs_dilation=stride,
        dimension_numbers=exchanged_order(len(kernel)),
        batch_group_count=groups,
    )


def along_channels(bias, y):
    """bias (O) beside y (B O *Y)."""
    return bias.reshape(1, -1, *(1,) * (y.ndim - 2))
