"""Convolutions with JAX's dimension numbers over the rules, re-exported by bpx_jax.nn.

`dimension_numbers` are three strings for x, weight and y as jax.lax takes them, such as ("NHWC",
"HWIO", "NHWC"), or a jax.lax.ConvDimensionNumbers; without them the layout is torch's: (B C *S),
(O K *W). padding takes JAX's forms too: "SAME", "VALID", and a (low, high) pair for each axis. An x
without its batch axis gives a y without it, where there are no dimension numbers.
"""

import numpy as np
from jax import lax

from bpx.profiles import profiled
from bpx.spec import require
from bpx_jax.layers import conv as _conv
from bpx_jax.layers import conv_transpose as _conv_transpose


@profiled("conv", lambda o: {"padding": o["padding"].upper() if o["padding"] else 0})
def conv(
    x, weight, bias=None, *, stride=1, padding=0, dilation=1, groups=1, dimension_numbers=None
):
    """Convolution; "SAME" with a stride pads as lax does, so that y has ceil(S / stride) places.
    Maths: bpx/layers/conv.py."""

    def run(x, weight):
        x, fitting = _padded(x, weight, stride, padding, dilation)
        return _conv.conv(
            x,
            weight,
            bias,
            stride=_option(stride),
            padding=fitting,
            dilation=_option(dilation),
            groups=groups,
        )

    return _laid("conv", x, weight, dimension_numbers, (0, 1), run)


def conv_transpose(
    x,
    weight,
    bias=None,
    *,
    stride=1,
    padding=0,
    output_padding=0,
    dilation=1,
    groups=1,
    dimension_numbers=None,
):
    """The adjoint of conv, as in torch: weight is (C K *W), so that in its string "I" are the
    channels of x and "O" those of y in one group. jax.lax.conv_transpose turns the kernel around
    (its transpose_kernel=False) and counts its padding otherwise. Maths:
    bpx/layers/conv_transpose.py."""

    def run(x, weight):
        return _conv_transpose.conv_transpose(
            x,
            weight,
            bias,
            stride=_option(stride),
            padding=_option(padding),
            output_padding=_option(output_padding),
            dilation=_option(dilation),
            groups=groups,
        )

    return _laid("conv_transpose", x, weight, dimension_numbers, (1, 0), run)


def _laid(entry, x, weight, dimension_numbers, order, run):
    """run(x, weight) in torch's layout; `order` is that of (O, I) in weight."""
    if dimension_numbers is None:
        if np.ndim(x) != np.ndim(weight) - 1:
            return run(x, weight)
        return run(x[None], weight)[0]
    require(
        np.ndim(x) == np.ndim(weight),
        f"{entry}: x has {np.ndim(x)} axes, expected the {np.ndim(weight)} of weight where "
        "dimension_numbers are given",
    )
    lhs, rhs, out = lax.conv_dimension_numbers(x.shape, weight.shape, dimension_numbers)
    features = (rhs[order[0]], rhs[order[1]])
    y = run(lax.transpose(x, lhs), lax.transpose(weight, (*features, *rhs[2:])))
    return lax.transpose(y, tuple(int(i) for i in np.argsort(out)))


def _padded(x, weight, stride, padding, dilation):
    """x with the zeros that the entry's own padding does not express, and the padding left."""
    n = x.ndim - 2
    if isinstance(padding, str):
        name = padding.lower()
        if name != "same" or _each(stride, n) == (1,) * n:
            return x, name
        reached = (
            d * (w - 1) + 1 for d, w in zip(_each(dilation, n), weight.shape[2:], strict=True)
        )
        pairs = lax.padtype_to_pads(x.shape[2:], tuple(reached), _each(stride, n), "SAME")
    elif isinstance(padding, (list, tuple)) and any(np.ndim(p) for p in padding):
        pairs = padding
    else:
        return x, _option(padding)
    require(
        len(pairs) == n and all(np.shape(p) == (2,) for p in pairs),
        f"conv: padding is {padding!r}, expected an integer, {n} of them, or {n} pairs (low, high)",
    )
    zero = np.zeros((), x.dtype)
    return lax.pad(x, zero, ((0, 0, 0), (0, 0, 0), *((low, high, 0) for low, high in pairs))), 0


def _each(value, n):
    return tuple(value) if isinstance(value, (list, tuple)) else (value,) * n


def _option(value):
    return tuple(value) if isinstance(value, list) else value
