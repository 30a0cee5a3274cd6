"""JAX's own convolution, for bpx_jax/oracles.py; its transposed one is the derivative of it."""

import jax
import jax.numpy as jnp
from jax import lax


def _each(value, n):
    return (value,) * n if isinstance(value, int) else tuple(value)


def _conv(x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    n = x.ndim - 2
    if not isinstance(padding, str):
        padding = [(p, p) for p in _each(padding, n)]
    y = lax.conv_general_dilated(
        x,
        weight,
        _each(stride, n),
        padding,
        rhs_dilation=_each(dilation, n),
        feature_group_count=groups,
    )
    return y if bias is None else y + bias.reshape(1, -1, *[1] * n)


def _conv_transpose(
    x, weight, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1
):
    n = x.ndim - 2
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    each = (_each(v, n) for v in (stride, padding, output_padding, dilation))
    sizes = tuple(
        (size - 1) * s - 2 * p + more + d * (w - 1) + 1
        for size, w, s, p, more, d in zip(x.shape[2:], weight.shape[2:], *each, strict=True)
    )
    wide = jnp.zeros((x.shape[0], weight.shape[1] * groups, *sizes), x.dtype)
    # output_padding may be so large that a convolution of y has more places than x
    own = (..., *(slice(size) for size in x.shape[2:]))
    (y,) = jax.linear_transpose(lambda a: _conv(a, weight, **options)[own], wide)(x)
    return y if bias is None else y + bias.reshape(1, -1, *[1] * n)


ORACLES = {"conv": _conv, "conv_transpose": _conv_transpose}
DIFFERS: dict[str, dict[str, str]] = {}
