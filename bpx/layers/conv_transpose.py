r"""Transposed convolution in one, two or three dimensions: the adjoint of `conv` in its x.

    y[b, o, s stride + w dilation - padding] = bias[o] + sum_{c, s, w} x[b, c, s] weight[c, k, w]

s, w and padding have one value for each spatial axis; c runs over the C / groups channels of the
group g = o // K, and k = o - g K. x is (B C *S), weight (C K *W), bias (O) with O = K groups. What
falls outside y is dropped; what nothing falls on is bias alone. Along each axis y has
(S - 1) stride - 2 padding + dilation (W - 1) + 1 + output_padding elements, where output_padding,
below stride or dilation, says which of the sizes is meant that a strided convolution takes to S.
Source: Zeiler et al. 2010, "Deconvolutional networks", CVPR; Dumoulin, Visin 2016, "A guide to
convolution arithmetic for deep learning", arXiv:1603.07285, chapter 4; options as in
torch.nn.functional.conv_transpose2d.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._conv_geometry import check_axes, per_axis, reach, whole, window
from bpx.spec import Arg, Case, Op, Options, Reject, require


def geometry(x: Any, weight: Any, o: Options) -> Any:
    n, kernel = x.ndim - 2, weight.shape[2:]
    stride, dilation = per_axis(o["stride"], n), per_axis(o["dilation"], n)
    more, padding = per_axis(o["output_padding"], n), per_axis(o["padding"], n)
    full = tuple(
        (s - 1) * step + r + extra
        for s, step, r, extra in zip(
            x.shape[2:], stride, reach(kernel, dilation), more, strict=True
        )
    )
    kept = (..., *(slice(p, size - p) for p, size in zip(padding, full, strict=True)))
    return stride, dilation, full, kept


def forward(x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    stride, dilation, full, kept = geometry(x, weight, options)
    groups, (rows, channels, *sizes), (_, per, *kernel) = options["groups"], x.shape, weight.shape
    grouped = x.reshape(rows, groups, channels // groups, math.prod(sizes))
    filters = weight.reshape(groups, channels // groups, per, *kernel)
    spread = np.zeros((rows, groups, per, *full), np.result_type(x, weight))
    for offset in np.ndindex(*kernel):
        put = np.einsum("bgcs,gck->bgks", grouped, filters[(..., *offset)])
        at = window(offset, tuple(sizes), stride, dilation)
        spread[at] += put.reshape(rows, groups, per, *sizes)
    y = spread.reshape(rows, groups * per, *full)[kept]
    return y + (0 if bias is None else bias.reshape(-1, *(1 for _ in sizes))), ()


def backward(dy: Any, x: Any, weight: Any, bias: Any = None, **options: Any) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    stride, dilation, full, kept = geometry(x, weight, options)
    groups, (rows, channels, *sizes), (_, per, *kernel) = options["groups"], x.shape, weight.shape
    grouped = x.reshape(rows, groups, channels // groups, math.prod(sizes))
    filters = weight.reshape(groups, channels // groups, per, *kernel)
    dgrouped, dfilters = np.zeros_like(grouped), np.zeros_like(filters)

    dbias = None if bias is None else dy.sum((0, *range(2, x.ndim)))  # y = y + bias
    dspread = np.zeros((rows, groups * per, *full))
    dspread[kept] = dy  # y = spread.reshape(...)[kept]
    dspread = dspread.reshape(rows, groups, per, *full)
    for offset in np.ndindex(*kernel):
        at = window(offset, tuple(sizes), stride, dilation)
        dput = dspread[at].reshape(rows, groups, per, math.prod(sizes))  # spread[at] += put
        # put = einsum(grouped, filters[offset])
        dgrouped += np.einsum("bgks,gck->bgcs", dput, filters[(..., *offset)])
        dfilters[(..., *offset)] += np.einsum("bgcs,bgks->gck", grouped, dput)
    dweight = dfilters.reshape(weight.shape)  # filters = weight.reshape(...)
    return dgrouped.reshape(x.shape), dweight, dbias  # grouped = x.reshape(...)


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d", {"x": draw(2, 3, 4, 5), "weight": draw(3, 4, 2, 3), "bias": draw(4)})
    yield Case(
        "stride, padding",
        {"x": draw(2, 2, 4, 3), "weight": draw(2, 3, 2, 5), "bias": draw(3)},
        {"stride": (3, 2), "padding": (1, 2)},
    )
    yield Case(
        "output_padding beyond padding",
        {"x": draw(2, 2, 3, 2), "weight": draw(2, 3, 2, 3), "bias": draw(3)},
        {"stride": (3, 2), "output_padding": (2, 1), "padding": (1, 0)},
    )
    yield Case(
        "groups",
        {"x": draw(2, 4, 3, 2), "weight": draw(4, 3, 2, 3), "bias": draw(6)},
        {"groups": 2, "padding": 1},
    )
    yield Case(
        "1d, dilated",
        {"x": draw(2, 3, 4), "weight": draw(3, 2, 3), "bias": draw(2)},
        {"dilation": 4, "stride": 2, "padding": 1, "output_padding": 3},
    )
    yield Case(
        "3d, no bias",
        {"x": draw(2, 2, 3, 2, 3), "weight": draw(2, 3, 2, 1, 3), "bias": None},
        {"stride": (1, 2, 1), "padding": (0, 0, 1)},
    )
    yield Case("no rows", {"x": draw(0, 2, 5, 4), "weight": draw(2, 3, 2, 3), "bias": draw(3)})


def check(dims: Dims, o: Options) -> None:
    check_axes("conv_transpose", dims, o)
    n, groups = len(dims["S"]), o["groups"]
    whole("conv_transpose", "padding", o["padding"], n, 0)
    whole("conv_transpose", "output_padding", o["output_padding"], n, 0)
    stride, dilation = per_axis(o["stride"], n), per_axis(o["dilation"], n)
    padding, more = per_axis(o["padding"], n), per_axis(o["output_padding"], n)
    require(
        all(m < max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)),
        f"conv_transpose: output_padding is {o['output_padding']!r}, expected less than stride or "
        f"dilation, which are {stride} and {dilation}",
    )
    require(
        dims["C"] % groups == 0,
        f"conv_transpose: x has {dims['C']} channels, expected a multiple of groups, which is "
        f"{groups}",
    )
    outs = dims["K"] * groups
    require(
        dims.setdefault("O", outs) == outs,
        f"conv_transpose: bias has {dims['O']} elements, expected {outs}, the {dims['K']} channels "
        f"of weight times groups, which is {groups}",
    )
    reached = reach(dims["W"], dilation)
    dims["Y"] = tuple(
        (s - 1) * step + r + m - 2 * p
        for s, step, r, m, p in zip(dims["S"], stride, reached, more, padding, strict=True)
    )
    require(
        min(dims["Y"]) > 0,
        f"conv_transpose: padding is {o['padding']!r}, expected less: y would have sizes "
        f"{dims['Y']}",
    )


_SHAPES: dict[str, tuple[int, ...] | None]
_SHAPES = {"x": (2, 4, 5, 6), "weight": (4, 3, 3, 2), "bias": None}

SPEC = Op(
    name="conv_transpose",
    path="layers/conv_transpose",
    doc=__doc__,
    args=(Arg("x", "B C *S"), Arg("weight", "C K *W"), Arg("bias", "O", optional=True)),
    out="B O *Y",
    saves=("x", "weight"),
    options={"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1},
    check=check,
    rejects=(
        Reject("x has shape (4,), expected (B C *S)", {**_SHAPES, "x": (4,)}),
        Reject("x has 4 spatial axes, expected", {**_SHAPES, "x": (2, 4, 5, 6, 7, 3)}),
        Reject("x has sizes (5, 0), expected no empty axis", {**_SHAPES, "x": (2, 4, 5, 0)}),
        Reject("weight has shape (3, 4, 3, 2), but dim C", {**_SHAPES, "weight": (3, 4, 3, 2)}),
        Reject("weight has 3 kernel axes, expected 2", {**_SHAPES, "weight": (4, 3, 3, 2, 2)}),
        Reject("have channels {'C': 4, 'K': 0}", {**_SHAPES, "weight": (4, 0, 3, 2)}),
        Reject("weight has kernel (0, 2)", {**_SHAPES, "weight": (4, 3, 0, 2)}),
        Reject("x has 4 channels, expected a multiple of groups", _SHAPES, {"groups": 3}),
        Reject(
            "bias has 3 elements, expected 6, the 3 channels of weight",
            {**_SHAPES, "bias": (3,)},
            {"groups": 2},
        ),
        Reject("stride is (0, 1), expected an integer of", _SHAPES, {"stride": (0, 1)}),
        Reject("dilation is (2,), expected an integer of", _SHAPES, {"dilation": (2,)}),
        Reject("groups is 2.0, expected an integer of", _SHAPES, {"groups": 2.0}),
        Reject("padding is 'same', expected an integer of", _SHAPES, {"padding": "same"}),
        Reject("output_padding is -1, expected an integer", _SHAPES, {"output_padding": -1}),
        Reject(
            "output_padding is 2, expected less than stride or dilation",
            _SHAPES,
            {"output_padding": 2, "stride": (3, 1), "dilation": (1, 2)},
        ),
        Reject("padding is 4, expected less: y would have", _SHAPES, {"padding": 4}),
        Reject("unknown option 'output_size'; it takes", _SHAPES, {"output_size": 2}),
    ),
    bench={
        "small": {"B": 2, "C": 8, "S": (8, 8), "O": 8, "K": 8, "W": (4, 4), "stride": 2},
        "typical": {"B": 8, "C": 32, "S": (14, 14), "O": 16, "K": 16, "W": (4, 4), "stride": 2},
        "large": {"B": 16, "C": 64, "S": (16, 16), "O": 32, "K": 32, "W": (4, 4), "stride": 2},
        "odd": {"B": 3, "C": 5, "S": (7, 9), "O": 7, "K": 7, "W": (3, 3), "stride": 2},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
