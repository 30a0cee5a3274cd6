r"""Maximum over a given number of windows, along one to three axes behind batch and channels.

    y[o] = max of x[p] over floor(o S / O) <= p < ceil((o + 1) S / O)

in each axis of S elements with O windows. Windows overlap where O does not divide S. Of equal
elements the first in row-major order is the maximum and gets the gradient; a window with NaN gives
NaN, and its last NaN gets the gradient (both as torch). output_size is O for all axes or one for
each; 1 is the global maximum, None is S.
Source: He, Zhang, Ren, Sun 2015, "Spatial pyramid pooling in deep convolutional networks for visual
recognition", arXiv:1406.4729, section 2.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._adaptive import boxes, check_output_size, output_sizes
from bpx.spec import Arg, Case, Op, Options, Reject

TIES = "the first of equal maxima takes the gradient, of NaN the last (as torch)"


def scan(x: Any, box: tuple[slice, ...]) -> tuple[Any, list[tuple[Any, Any]]]:
    """The maximum of a window, and for each of its places (index of x, where it took over)."""
    best = np.full(x.shape[:2], -np.inf, x.dtype)
    steps: list[tuple[Any, Any]] = []
    for place in product(*(range(s.start, s.stop) for s in box)):
        v = x[:, :, *place]
        better = np.isnan(v.real) | (v.real > best.real) | (not steps)
        best = np.where(better, v, best)
        steps.append(((slice(None), slice(None), *place), better))
    return best, steps


def forward(x: Any, *, output_size: Any) -> Any:
    y: Any = np.zeros((*x.shape[:2], *output_sizes(x.shape[2:], output_size)), x.dtype)
    for o, box in boxes(x.shape[2:], output_size):
        y[:, :, *o] = scan(x, box)[0]
    return y, ()


def backward(dy: Any, x: Any, *, output_size: Any) -> Any:
    """The adjoint of forward: the steps of each window from the last to the first."""
    dx = np.zeros(x.shape)
    for o, box in boxes(x.shape[2:], output_size):
        dbest = dy[:, :, *o]
        for at, better in reversed(scan(x, box)[1]):
            # best = where(better, x[at], best)
            dx[at] += np.where(better, dbest, 0.0)
            dbest = np.where(better, 0.0, dbest)
    return (dx,)


def check(dims: Dims, o: Options) -> None:
    check_output_size("adaptive_max_pool", dims, o)


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d overlapping", {"x": draw(2, 3, 5, 4)}, {"output_size": (3, 2)})
    yield Case("global", {"x": draw(2, 3, 7)})
    yield Case("3d", {"x": draw(1, 2, 4, 3, 5)}, {"output_size": (3, None, 2)})
    yield Case("more than there are", {"x": draw(2, 1, 3, 4)}, {"output_size": (7, 5)})
    yield Case("no rows", {"x": draw(0, 3, 5)}, {"output_size": 2})
    yield Case("ties", {"x": np.round(draw(2, 1, 5, 4))}, {"output_size": (2, 3)}, kink=TIES)
    odd = draw(2, 1, 7)
    odd[0, 0, [1, 2, 4]], odd[1, 0, :5] = np.nan, -np.inf
    yield Case("nan and -inf", {"x": odd}, {"output_size": 3}, kink=TIES)


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="adaptive_max_pool",
    path="layers/adaptive_max_pool",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    options={"output_size": 1},
    check=check,
    kinks=TIES,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("x has sizes (0,) behind 3 channels", {"x": (2, 3, 0)}),
        Reject("output_size is 0, expected an integer of at least 1", X, {"output_size": 0}),
        Reject("output_size is (2, 2), expected an integer", X, {"output_size": (2, 2)}),
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
