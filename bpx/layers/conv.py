r"""Convolution (cross-correlation) in one, two or three dimensions.

    y[b, o, t] = bias[o] + sum_{k, w} x[b, g K + k, t stride + w dilation - low] weight[o, k, w]

t, w and low have one value for each spatial axis; g = o // (O / groups) is the group of channel o;
x is 0 outside its range. x is (B C *S), weight (O K *W) with K = C / groups, bias (O). padding is
added to both ends; "same" (stride 1 alone) adds dilation (W - 1) in all, an odd one's larger part
at the high end; "valid" adds none. Elements in a tail that the stride drops have gradient 0.
Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition", Proc. IEEE
86(11), section II; dilation and groups as in torch.nn.functional.conv2d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._conv_geometry import check_axes, per_axis, reach, whole, window
from bpx.spec import Arg, Case, Op, Options, Reject, one_of, require


def pads(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    """Zeros put before and after each spatial axis: ((low, high), ...)."""
    if padding == "same":
        spare = (r - 1 for r in reach(kernel, dilation))
        return tuple((total // 2, total - total // 2) for total in spare)
    each = per_axis(0 if padding == "valid" else padding, len(kernel))
    return tuple((p, p) for p in each)


def geometry(x: Any, weight: Any, o: Options) -> Any:
    n, kernel = x.ndim - 2, weight.shape[2:]
    stride, dilation = per_axis(o["stride"], n), per_axis(o["dilation"], n)
    around = pads(o["padding"], kernel, dilation)
    count = tuple(
        (s + low + high - r) // step + 1
        for s, (low, high), r, step in zip(
            x.shape[2:], around, reach(kernel, dilation), stride, strict=True
        )
    )
    return stride, dilation, ((0, 0), (0, 0), *around), count


def forward(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    stride, dilation, around, count = geometry(x, weight, options)
    groups, rows, (outs, per, *kernel) = options["groups"], x.shape[0], weight.shape
    padded = np.pad(x, around)
    grouped = padded.reshape(rows, groups, per, *padded.shape[2:])
    filters = weight.reshape(groups, outs // groups, per, *kernel)
    y = np.zeros(())
    for offset in np.ndindex(*kernel):
        seen = grouped[window(offset, count, stride, dilation)]
        seen = seen.reshape(rows, groups, per, math.prod(count))
        y = y + np.einsum("bgkt,gok->bgot", seen, filters[(..., *offset)])
    y = y.reshape(rows, outs, *count)
    return y + (0 if bias is None else bias.reshape(outs, *(1 for _ in count))), ()


def backward(dy: Any, x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    stride, dilation, around, count = geometry(x, weight, options)
    groups, rows, (outs, per, *kernel) = options["groups"], x.shape[0], weight.shape
    padded = np.pad(x, around)
    grouped = padded.reshape(rows, groups, per, *padded.shape[2:])
    filters = weight.reshape(groups, outs // groups, per, *kernel)
    dgrouped, dfilters = np.zeros_like(grouped), np.zeros_like(filters)

    dbias = None if bias is None else dy.sum((0, *range(2, x.ndim)))  # y = y + bias
    dy = dy.reshape(rows, groups, outs // groups, math.prod(count))  # y = y.reshape(...)
    for offset in np.ndindex(*kernel):
        at = window(offset, count, stride, dilation)
        seen = grouped[at].reshape(rows, groups, per, math.prod(count))
        # y = y + einsum(seen, filters[offset])
        dfilters[(..., *offset)] += np.einsum("bgkt,bgot->gok", seen, dy)
        dseen = np.einsum("bgot,gok->bgkt", dy, filters[(..., *offset)])
        dgrouped[at] += dseen.reshape(rows, groups, per, *count)  # seen = grouped[at]
    dweight = dfilters.reshape(weight.shape)  # filters = weight.reshape(...)
    dpadded = dgrouped.reshape(padded.shape)  # grouped = padded.reshape(...)
    inside = (slice(low, low + s) for s, (low, _) in zip(x.shape, around, strict=True))
    return dpadded[tuple(inside)], dweight, dbias  # padded = pad(x)


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(2, 3, 5, 4), "weight": draw(4, 3, 2, 3), "bias": draw(4)})
    yield Case(
        "tail dropped by the stride",
        {"x": draw(2, 2, 7, 6), "weight": draw(3, 2, 3, 2), "bias": draw(3)},
        {"stride": (4, 3), "padding": (1, 0)},
    )
    yield Case(
        "groups",
        {"x": draw(2, 4, 5, 3), "weight": draw(6, 2, 2, 3), "bias": draw(6)},
        {"groups": 2, "padding": 1},
    )
    yield Case(
        "same, dilated",
        {"x": draw(2, 2, 5, 6), "weight": draw(3, 2, 2, 3), "bias": draw(3)},
        {"padding": "same", "dilation": (3, 2)},
    )
    yield Case(
        "1d",
        {"x": draw(2, 3, 7), "weight": draw(4, 3, 3), "bias": draw(4)},
        {"stride": 3, "padding": 2, "dilation": 2},
    )
    yield Case(
        "3d, no bias",
        {"x": draw(2, 2, 3, 4, 5), "weight": draw(3, 2, 2, 1, 3), "bias": None},
        {"stride": (1, 2, 1), "padding": (0, 1, 1)},
    )
    yield Case(
        "one channel a group",
        {"x": draw(2, 3, 5), "weight": draw(6, 1, 2), "bias": draw(6)},
        {"padding": "valid", "groups": 3},
    )
    yield Case("no rows", {"x": draw(0, 2, 5, 4), "weight": draw(3, 2, 2, 3), "bias": draw(3)})


def check(dims: Dims, o: Options) -> None:
    check_axes("conv", dims, o)
    n, groups, kernel = len(dims["S"]), o["groups"], dims["W"]
    if isinstance(o["padding"], str):
        one_of("conv", "padding", o["padding"], ("same", "valid"))
    else:
        whole("conv", "padding", o["padding"], n, 0)
    stride, dilation = per_axis(o["stride"], n), per_axis(o["dilation"], n)
    require(
        o["padding"] != "same" or all(s == 1 for s in stride),
        f"conv: stride is {o['stride']!r}, expected 1 where padding is 'same'",
    )
    require(
        dims["C"] == groups * dims["K"],
        f"conv: weight has {dims['K']} channels per group, expected the {dims['C']} channels of x "
        f"divided by groups, which is {groups}",
    )
    require(
        dims["O"] % groups == 0,
        f"conv: weight has {dims['O']} output channels, expected a multiple of groups, which is "
        f"{groups}",
    )
    around, least = pads(o["padding"], kernel, dilation), reach(kernel, dilation)
    sizes = tuple(s + low + high for s, (low, high) in zip(dims["S"], around, strict=True))
    require(
        all(s >= r for s, r in zip(sizes, least, strict=True)),
        f"conv: x with its padding has sizes {sizes}, expected at least the {least} that the "
        "kernel reaches over",
    )
    dims["Y"] = tuple((s - r) // step + 1 for s, r, step in zip(sizes, least, stride, strict=True))


_SHAPES: dict[str, tuple[int, ...] | None]
_SHAPES = {"x": (2, 4, 5, 6), "weight": (6, 4, 3, 2), "bias": None}

SPEC = Op(
    name="conv",
    path="layers/conv",
    doc=__doc__,
    args=(Arg("x", "B C *S"), Arg("weight", "O K *W"), Arg("bias", "O", optional=True)),
    out="B O *Y",
    saves=("x", "weight"),
    options={"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    check=check,
    rejects=(
        Reject("x has shape (4,), expected (B C *S)", {**_SHAPES, "x": (4,)}),
        Reject("x has 0 spatial axes", {**_SHAPES, "x": (2, 4)}),
        Reject("x has sizes (5, 0), expected no empty axis", {**_SHAPES, "x": (2, 4, 5, 0)}),
        Reject("weight has 1 kernel axes, expected 2", {**_SHAPES, "weight": (6, 4, 3)}),
        Reject("have channels {'C': 4, 'K': 4, 'O': 0}", {**_SHAPES, "weight": (0, 4, 3, 2)}),
        Reject("weight has kernel (3, 0)", {**_SHAPES, "weight": (6, 4, 3, 0)}),
        Reject("weight has 4 channels per group, expected the 4", _SHAPES, {"groups": 2}),
        Reject(
            "weight has 3 output channels, expected a multiple of groups, which is 2",
            {**_SHAPES, "weight": (3, 2, 3, 2)},
            {"groups": 2},
        ),
        Reject("bias has shape (4,), but dim O is 6", {**_SHAPES, "bias": (4,)}),
        Reject("stride is 0, expected an integer of at least 1", _SHAPES, {"stride": 0}),
        Reject("stride is (1, 2, 1), expected an integer", _SHAPES, {"stride": (1, 2, 1)}),
        Reject("dilation is 1.5, expected an integer", _SHAPES, {"dilation": 1.5}),
        Reject("groups is (1,), expected an integer", _SHAPES, {"groups": (1,)}),
        Reject("groups is 0, expected an integer of at least 1", _SHAPES, {"groups": 0}),
        Reject("padding is -1, expected an integer of at least 0", _SHAPES, {"padding": -1}),
        Reject("padding is 'full', expected one of", _SHAPES, {"padding": "full"}),
        Reject(
            "stride is (1, 2), expected 1 where padding is 'same'",
            _SHAPES,
            {"padding": "same", "stride": (1, 2)},
        ),
        Reject("has sizes (5, 6), expected at least the (9, 5)", _SHAPES, {"dilation": 4}),
        Reject("unknown option 'strides'; it takes", _SHAPES, {"strides": 2}),
    ),
    bench={
        "small": {"B": 2, "C": 8, "S": (8, 8), "O": 8, "K": 8, "W": (3, 3), "padding": 1},
        "typical": {"B": 8, "C": 32, "S": (28, 28), "O": 32, "K": 32, "W": (3, 3), "padding": 1},
        "large": {"B": 16, "C": 64, "S": (32, 32), "O": 64, "K": 64, "W": (3, 3), "padding": 1},
        "odd": {"B": 3, "C": 5, "S": (17, 9), "O": 7, "K": 5, "W": (3, 3), "padding": 1},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
