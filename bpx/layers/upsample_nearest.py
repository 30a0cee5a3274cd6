r"""Resizing by copying the nearest element, along one to three axes behind batch and channels.

    y[i] = x[min(floor(i step), S - 1)]               in each axis of S elements
    y[i] = x[min(floor((i + 1/2) step), S - 1)]       with exact, the element under i's middle

step is S / O for an output of the given size O, and 1 / scale_factor where that is given instead, O
being floor(S scale_factor); a size takes the place of scale_factor. Positions are computed in
the dtype of x, in float32 at least, and then rounded to float32, as torch does on the CPU: this
decides where i step is within rounding of an integer. The gradient of an element is the sum over
its copies. Backward needs the sizes of x, not its values.
Source: torch.nn.functional.interpolate, modes "nearest" and "nearest-exact".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._resize import check_resize, nearest, output_sizes, scales
from bpx.layers._window import check_flag
from bpx.spec import Arg, Case, Op, Options, Reject


def indices(sizes: tuple[int, ...], o: Options) -> list[Any]:
    """For each spatial axis the element of x that each element of y copies."""
    each = zip(sizes, output_sizes(sizes, o), scales(o, len(sizes)), strict=True)
    return [nearest(s, out, scale, o["exact"]) for s, out, scale in each]


def forward(x: Any, **o: Any) -> Any:
    y = x
    for axis, index in enumerate(indices(x.shape[2:], o), 2):
        y = np.take(y, index, axis)
    return y, ()


def backward(dy: Any, x: Any, **o: Any) -> Any:
    """The adjoint of forward, axis by axis from the last."""
    for axis, index in reversed(list(enumerate(indices(x.shape[2:], o), 2))):
        before = np.zeros((x.shape[axis], *np.moveaxis(dy, axis, 0).shape[1:]))
        np.add.at(before, index, np.moveaxis(dy, axis, 0))  # y = take(y, index, axis)
        dy = np.moveaxis(before, 0, axis)
    return (dy,)


def check(dims: Dims, o: Options) -> None:
    check_resize("upsample_nearest", dims, o)
    check_flag("upsample_nearest", "exact", o["exact"])


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d, up and down", {"x": draw(2, 3, 5, 4)}, {"size": (3, 7)})
    yield Case("twice", {"x": draw(2, 3, 7)})
    yield Case("3d", {"x": draw(1, 2, 2, 3, 4)}, {"scale_factor": (2.5, 1.0, 0.7)})
    yield Case("exact", {"x": draw(2, 1, 5)}, {"size": 3, "exact": True})
    yield Case("no rows", {"x": draw(0, 3, 5)})


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="upsample_nearest",
    path="layers/upsample_nearest",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    shapes=("x",),
    options={"size": None, "scale_factor": 2.0, "exact": False},
    check=check,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("size is 0, expected an integer of at least 1", X, {"size": 0}),
        Reject("size is (2, 2), expected an integer", X, {"size": (2, 2)}),
        Reject("scale_factor is -1, expected a number above 0", X, {"scale_factor": -1}),
        Reject("scale_factor is 0.1, expected at least one element", X, {"scale_factor": 0.1}),
        Reject("exact is 1, expected one of", X, {"exact": 1}),
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
