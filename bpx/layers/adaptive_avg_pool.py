r"""Mean over a given number of windows, along one to three axes behind batch and channels.

    y[o] = mean of x[p] over floor(o S / O) <= p < ceil((o + 1) S / O)

in each axis of S elements with O windows. Windows overlap where O does not divide S. output_size is
O for all axes or one for each; 1 is the global mean, None is S.
Source: He, Zhang, Ren, Sun 2015, "Spatial pyramid pooling in deep convolutional networks for visual
recognition", arXiv:1406.4729, section 2.3 (the windows); the mean as in torch.nn.AdaptiveAvgPool2d.
Backward needs the sizes of x, not its values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._adaptive import boxes, check_output_size, output_sizes
from bpx.spec import Arg, Case, Op, Options, Reject


def forward(x: Any, *, output_size: Any) -> Any:
    y: Any = np.zeros((*x.shape[:2], *output_sizes(x.shape[2:], output_size)), x.dtype)
    for o, box in boxes(x.shape[2:], output_size):
        seen = x[:, :, *box]
        y[:, :, *o] = seen.sum(tuple(range(2, x.ndim))) / np.prod(seen.shape[2:])
    return y, ()


def backward(dy: Any, x: Any, *, output_size: Any) -> Any:
    """The adjoint of forward, window by window."""
    dx = np.zeros(x.shape)
    for o, box in boxes(x.shape[2:], output_size):
        # y[o] = sum(seen) / n,  seen = x[box]
        dsum = dy[:, :, *o] / np.prod(dx[:, :, *box].shape[2:])
        dx[:, :, *box] += dsum.reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return (dx,)


def check(dims: Dims, o: Options) -> None:
    check_output_size("adaptive_avg_pool", dims, o)


def cases(draw: Any) -> Iterator[Case]:
    yield Case("2d overlapping", {"x": draw(2, 3, 5, 4)}, {"output_size": (3, 2)})
    yield Case("global", {"x": draw(2, 3, 7)})
    yield Case("3d", {"x": draw(1, 2, 4, 3, 5)}, {"output_size": (3, None, 2)})
    yield Case("more than there are", {"x": draw(2, 1, 3, 4)}, {"output_size": (7, 5)})
    yield Case("no rows", {"x": draw(0, 3, 5)}, {"output_size": 2})


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="adaptive_avg_pool",
    path="layers/adaptive_avg_pool",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    shapes=("x",),
    options={"output_size": 1},
    check=check,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("x has sizes (0,) behind 3 channels", {"x": (2, 3, 0)}),
        Reject("output_size is 0, expected an integer of at least 1", X, {"output_size": 0}),
        Reject("output_size is (2, 2), expected an integer", X, {"output_size": (2, 2)}),
        Reject("output_size is 1.5, expected an integer", X, {"output_size": 1.5}),
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
