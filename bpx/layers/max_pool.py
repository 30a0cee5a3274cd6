r"""Maximum over sliding windows, along one to three axes behind batch and channels.

    y[o] = max_i x[o stride - padding + i dilation]

Padding never wins: a window looks at the elements of x alone. Of equal elements the first in
row-major order is the maximum and gets the gradient; a window with NaN gives NaN, and its last NaN
gets the gradient (both as torch). stride None means kernel_size; each of kernel_size, stride,
padding and dilation is a number or one for each axis. A tail that no window reaches gets 0. With
ceil_mode the last window may reach beyond the padding.
Source: Ranzato, Huang, Boureau, LeCun 2007, "Unsupervised learning of invariant feature
hierarchies with applications to object recognition", CVPR, section 2; windows as in
torch.nn.MaxPool2d.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._window import check_window, looks, out_sizes
from bpx.spec import Arg, Case, Op, Options, Reject

TIES = "the first of equal maxima takes the gradient, of NaN the last (as torch)"


def scan(x: Any, o: Options) -> tuple[Any, list[tuple[Any, Any]]]:
    """y, and for each place in the window (index of x, where it replaced the best so far)."""
    y = np.full((*x.shape[:2], *out_sizes(x.shape[2:], o)), -np.inf, x.dtype)
    begun = np.zeros(y.shape, bool)
    steps = []
    for at, inside in looks(x, o):
        v = x[at]
        better = inside & (~begun | (v.real > y.real) | np.isnan(v.real))
        y = np.where(better, v, y)
        begun = begun | inside
        steps.append((at, better))
    return y, steps


def forward(x: Any, **o: Any) -> Any:
    return scan(x, o)[0], ()


def backward(dy: Any, x: Any, **o: Any) -> Any:
    """The adjoint of forward: its steps from the last to the first."""
    dx = np.zeros(x.shape)
    for at, better in reversed(scan(x, o)[1]):
        # y = where(better, v, y)
        dv = np.where(better, dy, 0.0)
        dy = np.where(better, 0.0, dy)
        np.add.at(dx, at, dv)  # v = x[at]
    return (dx,)


def check(dims: Dims, o: Options) -> None:
    check_window("max_pool", dims, o)


def cases(draw: Any) -> Iterator[Case]:
    yield Case(
        "2d overlapping",
        {"x": draw(2, 3, 5, 4)},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1},
    )
    yield Case("1d, tail", {"x": draw(2, 3, 7)})
    yield Case("3d", {"x": draw(1, 2, 4, 3, 5)}, {"kernel_size": (2, 1, 3), "stride": 1})
    yield Case("dilation", {"x": draw(2, 1, 7)}, {"stride": 1, "padding": 1, "dilation": 3})
    ceil = {"kernel_size": 3, "stride": 2, "ceil_mode": True}
    yield Case("ceil_mode", {"x": draw(1, 2, 6, 5)}, ceil)
    yield Case("no rows", {"x": draw(0, 3, 5)})
    ties = np.round(draw(2, 1, 4, 5))
    yield Case("ties", {"x": ties}, {"kernel_size": 3, "stride": 1, "padding": 1}, kink=TIES)
    odd = draw(2, 1, 7)
    odd[0, 0, [1, 2, 4]], odd[1, 0, :5] = np.nan, -np.inf
    yield Case("nan and -inf", {"x": odd}, {"kernel_size": 3, "padding": 1}, kink=TIES)


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="max_pool",
    path="layers/max_pool",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    options={"kernel_size": 2, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    check=check,
    kinks=TIES,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("x has sizes () behind 3 channels, expected 1 to 3", {"x": (2, 3)}),
        Reject("x has sizes (0,) behind 3 channels", {"x": (2, 3, 0)}),
        Reject("kernel_size is 0, expected an integer of at least 1", X, {"kernel_size": 0}),
        Reject("kernel_size is (2, 2), expected an integer", X, {"kernel_size": (2, 2)}),
        Reject("kernel_size is 7, expected a window of at most the 5", X, {"kernel_size": 7}),
        Reject("padding is 2, expected at most half of the kernel_size 2", X, {"padding": 2}),
        Reject("dilation is 9, expected at most the size 5", X, {"dilation": 9, "padding": 1}),
        Reject("stride is 1.5, expected an integer", X, {"stride": 1.5}),
        Reject("ceil_mode is 1, expected one of [True, False]", X, {"ceil_mode": 1}),
    ),
    bench={
        "small": {"B": 4, "C": 8, "S": (8, 8)},
        "typical": {"B": 16, "C": 64, "S": (56, 56)},
        "large": {"B": 32, "C": 64, "S": (64, 64)},
        "odd": {"B": 3, "C": 5, "S": (17, 23)},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
