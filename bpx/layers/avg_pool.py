r"""Mean over sliding windows, along one to three axes behind batch and channels.

    y[o] = (sum_i x[o stride - padding + i]) / divisor[o]

Padding adds 0. divisor[o] is how many positions window o has within x and its padding, or, without
count_include_pad, within x alone; divisor_override takes its place. What a window has beyond the
padding (ceil_mode) never counts. stride None means kernel_size; each of kernel_size, stride and
padding is a number or one for each axis. A tail that no window reaches gets 0.
Backward needs the sizes of x, not its values.
Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
recognition", Proceedings of the IEEE 86(11), section II.B, without its coefficients; windows and
divisors as in torch.nn.AvgPool2d.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.layers._window import check_flag, check_window, looks, out_sizes, window
from bpx.spec import Arg, Case, Op, Options, Reject, require


def divisor(sizes: tuple[int, ...], o: Options) -> Any:
    """What each window is divided by, with the shape of the windows, or one number."""
    if o["divisor_override"] is not None:
        return o["divisor_override"]
    counts = []
    for s, out, (k, stride, pad, _) in zip(
        sizes, out_sizes(sizes, o), window(o, len(sizes)), strict=True
    ):
        start = np.arange(out) * stride - pad
        end = start + k
        if o["count_include_pad"]:
            counts.append(np.minimum(end, s + pad) - start)
        else:
            counts.append(np.minimum(end, s) - np.maximum(start, 0))
    return np.multiply.reduce(np.meshgrid(*counts, indexing="ij"))


def forward(x: Any, **o: Any) -> Any:
    total = np.zeros((*x.shape[:2], *out_sizes(x.shape[2:], o)), x.dtype)
    for at, inside in looks(x, o):
        total = total + np.where(inside, x[at], 0.0)
    return total / divisor(x.shape[2:], o), ()


def backward(dy: Any, x: Any, **o: Any) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    dtotal = dy / divisor(x.shape[2:], o)  # y = total / divisor
    dx = np.zeros(x.shape)
    for at, inside in reversed(list(looks(x, o))):
        np.add.at(dx, at, np.where(inside, dtotal, 0.0))  # total = total + x[at] where inside
    return (dx,)


def check(dims: Dims, o: Options) -> None:
    check_window("avg_pool", dims, o)
    check_flag("avg_pool", "count_include_pad", o["count_include_pad"])
    d = o["divisor_override"]
    require(
        d is None or (type(d) is int and d != 0),
        f"avg_pool: divisor_override is {d!r}, expected None or an integer other than 0",
    )


def cases(draw: Any) -> Iterator[Case]:
    yield Case(
        "2d overlapping",
        {"x": draw(2, 3, 5, 4)},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1},
    )
    yield Case("1d, tail", {"x": draw(2, 3, 7)})
    yield Case("gaps", {"x": draw(2, 3, 7)}, {"stride": 3, "divisor_override": 5})
    ceil = {"kernel_size": (3, 2, 4), "stride": 2, "padding": (1, 0, 2), "ceil_mode": True}
    yield Case("ceil_mode", {"x": draw(1, 2, 4, 3, 5)}, ceil)
    alone = {**ceil, "count_include_pad": False}
    yield Case("padding not counted", {"x": draw(1, 2, 4, 3, 5)}, alone)
    yield Case("long window", {"x": draw(1, 2, 7)}, {"kernel_size": 5, "stride": 1, "padding": 2})
    yield Case("no rows", {"x": draw(0, 3, 5)})


X = {"x": (2, 3, 5)}

SPEC = Op(
    name="avg_pool",
    path="layers/avg_pool",
    doc=__doc__,
    args=(Arg("x", "B C *S"),),
    out="B C *O",
    saves=("x",),
    shapes=("x",),
    options={
        "kernel_size": 2,
        "stride": None,
        "padding": 0,
        "ceil_mode": False,
        "count_include_pad": True,
        "divisor_override": None,
    },
    check=check,
    rejects=(
        Reject("x has shape (3,), expected (B C *S)", {"x": (3,)}),
        Reject("kernel_size is 0, expected an integer of at least 1", X, {"kernel_size": 0}),
        Reject("kernel_size is 7, expected a window of at most the 5", X, {"kernel_size": 7}),
        Reject("padding is 2, expected at most half of the kernel_size 2", X, {"padding": 2}),
        Reject("stride is (1, 1), expected an integer", X, {"stride": (1, 1)}),
        Reject("divisor_override is 0, expected None or an integer", X, {"divisor_override": 0}),
        Reject("count_include_pad is None, expected one of", X, {"count_include_pad": None}),
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
