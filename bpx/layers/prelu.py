r"""Leaky rectifier with a learned slope, one for all elements or one for each channel.

    y = x                x > 0
    y = weight x         x <= 0

weight has one element, or one for each index along `axis` (by default the second, torch's
channels).
Source: He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers", arXiv:1502.01852, equation 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def along(weight: Any, x: Any, axis: int) -> Any:
    """weight with the number of dims of x, its one axis at `axis`."""
    if weight.shape[0] == 1:
        return weight.reshape((1,) * x.ndim)
    shape = [1] * x.ndim
    shape[axis] = -1
    return weight.reshape(shape)


def forward(x: Any, weight: Any, *, axis: int) -> Any:
    return np.where(x.real > 0, x, along(weight, x, axis) * x), ()


def backward(dy: Any, x: Any, weight: Any, *, axis: int) -> Any:
    """The adjoint of forward, branch by branch."""
    below = np.where(x > 0, 0.0, dy)  # y = weight x where x <= 0
    dslope = below * x
    dx = below * along(weight, x, axis)
    if weight.shape[0] == 1:  # weight is repeated over everything but the channels
        dweight = dslope.sum().reshape(1)
    else:
        dweight = dslope.sum(tuple(i for i in range(x.ndim) if i != axis % x.ndim))
    dx = dx + np.where(x > 0, dy, 0.0)  # y = x where x > 0
    return dx, dweight


def check(dims: Dims, o: Options) -> None:
    shape, k, axis = dims["N"], dims["K"], o["axis"]
    require(type(axis) is int, f"prelu: axis is {axis!r}, expected an integer")
    if k == 1:
        return
    require(
        len(shape) > 1 and -len(shape) <= axis < len(shape),
        f"prelu: weight has {k} elements, expected 1, since x of shape {shape} has no channels "
        f"along axis {axis}",
    )
    require(
        k == shape[axis],
        f"prelu: weight has {k} elements, expected 1 or the {shape[axis]} along axis {axis} of x",
    )


def cases(draw: Any) -> Iterator[Case]:
    yield Case("channels", {"x": draw(2, 3, 5), "weight": draw(3)})
    yield Case("one slope", {"x": draw(3, 5), "weight": draw(1)})
    yield Case("last axis", {"x": draw(2, 3, 5), "weight": draw(5)}, {"axis": -1})
    yield Case("1d", {"x": draw(7), "weight": draw(1)})
    yield Case("scalar", {"x": draw(), "weight": draw(1)})
    yield Case("no rows", {"x": draw(0, 3), "weight": draw(3)})
    yield Case("kinks", {"x": np.array([[0.0, -0.0, 1.5]]), "weight": draw(3)}, kink=KINKS)


KINKS = "weight, the slope from below, at 0 (as torch)"

SPEC = Op(
    name="prelu",
    path="layers/prelu",
    doc=__doc__,
    args=(Arg("x", "*N"), Arg("weight", "K")),
    out="*N",
    saves=("x", "weight"),
    options={"axis": 1},
    check=check,
    rejects=(
        Reject(
            "weight has 4 elements, expected 1 or the 3 along axis 1", {"x": (2, 3), "weight": (4,)}
        ),
        Reject(
            "weight has 3 elements, expected 1, since x of shape (3,)", {"x": (3,), "weight": (3,)}
        ),
        Reject("has no channels along axis 2", {"x": (2, 3), "weight": (3,)}, {"axis": 2}),
        Reject("axis is 1.0, expected an integer", {"x": (2, 3), "weight": (3,)}, {"axis": 1.0}),
        Reject("weight has shape (), expected (K)", {"x": (2, 3), "weight": ()}),
        Reject(
            "unknown option 'dim'; it takes ['axis']", {"x": (2, 3), "weight": (3,)}, {"dim": 1}
        ),
    ),
    bench={
        "small": {"N": 1000, "K": 1},
        "typical": {"N": 262144, "K": 1},
        "large": {"N": 4194304, "K": 1},
        "odd": {"N": 1000003, "K": 1},
    },
    kinks=KINKS,
    forward=forward,
    backward=backward,
    cases=cases,
)
