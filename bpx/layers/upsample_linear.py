r"""Resizing by linear interpolation along one to three axes behind batch and channels: linear,
bilinear, trilinear.

    y[i] = (1 - t) x[l] + t x[min(l + 1, S - 1)],   l = floor(place),   t = place - l

in each axis of S elements, one axis after the other, with

    place = max((i + 1/2) step - 1/2, 0)
    place = i (S - 1) / (O - 1)                     with align_corners, 0 where O is 1

step is S / O for an output of the given size O, and 1 / scale_factor where that is given instead, O
being floor(S scale_factor); a size takes the place of scale_factor. Elements that no output looks
at (S much larger than O) get a gradient of 0. Backward needs the sizes of x, not its values.
Source: torch.nn.functional.interpolate, modes "linear", "bilinear" and "trilinear".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._resize import check_resize, linear, output_sizes, scales
from bpx.layers._window import check_flag
from bpx.spec import Arg, Case, Op, Options, Reject


def places(sizes: tuple[int, ...], o: Options) -> list[tuple[Any, Any, Any]]:
    """For each spatial axis (low, high, t) of each element of y."""
    each = zip(sizes, output_sizes(sizes, o), scales(o, len(sizes)), strict=True)
    return [linear(s, out, scale, o["align_corners"]) for s, out, scale in each]


def forward(x: Any, **o: Any) -> Any:
    y = x
    for axis, (low, high, t) in enumerate(places(x.shape[2:], o), 2):
        y = np.moveaxis(y, axis, -1)
        y = (1 - t) * y[..., low] + t * y[..., high]
        y = np.moveaxis(y, -1, axis)
    return y, ()


def backward(dy: Any, x: Any, **o: Any) -> Any:
    """The adjoint of forward, axis by axis from the last."""
    for axis, (low, high, t) in reversed(list(enumerate(places(x.shape[2:], o), 2))):
        dy = np.moveaxis(dy, axis, -1)
        before = np.zeros((x.shape[axis], *dy.shape[:-1]))  # the axis in front
        np.add.at(before, low, np.moveaxis((1 - t) * dy, -1, 0))  # y = (1 - t) y[low] + t y[high]
        np.add.at(before, high, np.moveaxis(t * dy, -1, 0))
        dy = np.moveaxis(before, 0, axis)
    return (dy,)


def check(dims: Dims, o: Options) -> None:
    check_resize("upsample_linear", dims, o)
    check_flag("upsample_linear", "align_corners", o["align_corners"])


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d, up and down", {"x": draw(2, 3, 5, 4)}, {"size": (3, 7)})
    yield Case("twice", {"x": draw(2, 3, 7)})
    yield Case("3d", {"x": draw(1, 2, 2, 3, 4)}, {"scale_factor": (2.5, 1.0, 0.7)})
    corners = {"size": (7, 1), "align_corners": True}
    yield Case("corners", {"x": draw(2, 1, 5, 3)}, corners)
    yield Case("some are not looked at", {"x": draw(2, 1, 7)}, {"size": 2})
    yield Case("no rows", {"x": draw(0, 3, 5)})


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="upsample_linear",
    path="layers/upsample_linear",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    shapes=("x",),
    options={"size": None, "scale_factor": 2.0, "align_corners": False},
    check=check,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("size is 0, expected an integer of at least 1", X, {"size": 0}),
        Reject("scale_factor is None, expected a number above 0", X, {"scale_factor": None}),
        Reject("scale_factor is 0.1, expected at least one element", X, {"scale_factor": 0.1}),
        Reject("align_corners is None, expected one of", X, {"align_corners": None}),
    ),
    bench={
        "small": {"B": 2, "C": 4, "S": (8, 8)},
        "typical": {"B": 4, "C": 32, "S": (28, 28)},
        "large": {"B": 8, "C": 64, "S": (32, 32)},
        "odd": {"B": 3, "C": 5, "S": (7, 9)},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
