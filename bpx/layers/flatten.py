r"""Several axes in a row as one, in row-major order.

    y[..., i, ...] = x[..., i1, ..., ik, ...],  i = (i1 S2 + i2) S3 + ... + ik

from start_dim to end_dim, both of which take part; x of no axes becomes one of size 1. Only the
shape of x is kept. By default all axes.
Source: PyTorch documentation, torch.flatten.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bpx import bench_rows as rows
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def flattened(shape: tuple[int, ...], start_dim: int, end_dim: int) -> tuple[int, ...]:
    """The shape of the result; axes count from the end where they are negative."""
    n = max(len(shape), 1)
    start, end = start_dim % n, end_dim % n
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def forward(x: Any, *, start_dim: int, end_dim: int) -> Any:
    return x.reshape(flattened(x.shape, start_dim, end_dim)), ()


def backward(dy: Any, x: Any, *, start_dim: int, end_dim: int) -> Any:
    return (dy.reshape(x.shape),)  # y = x in another shape


def check(dims: Dims, o: Options) -> None:
    n = max(len(dims["N"]), 1)
    for name in ("start_dim", "end_dim"):
        require(type(o[name]) is int, f"flatten: {name} is {o[name]!r}, expected an integer")
        require(
            -n <= o[name] < n,
            f"flatten: {name} is {o[name]} for x of shape {dims['N']}, "
            f"expected {-n} <= {name} < {n}",
        )
    start, end = o["start_dim"] % n, o["end_dim"] % n
    require(start <= end, f"flatten: start_dim is axis {start}, expected at most end_dim's {end}")
    dims["M"] = flattened(dims["N"], o["start_dim"], o["end_dim"])


def cases(draw: Any) -> Iterator[Case]:
    yield Case("4d", {"x": draw(2, 3, 4, 5)}, {"start_dim": 1})
    yield Case("in the middle", {"x": draw(2, 3, 4, 5)}, {"start_dim": 1, "end_dim": -2})
    yield Case("everything", {"x": draw(3, 5)})
    yield Case("one axis", {"x": draw(3, 5)}, {"start_dim": -1})
    yield Case("no rows", {"x": draw(0, 3, 2)})
    yield Case("scalar", {"x": draw()})


SPEC = Op(
    name="flatten",
    path="layers/flatten",
    doc=__doc__,
    args=(Arg("x", "*N"),),
    out="*M",
    saves=("x",),
    shapes=("x",),
    options={"start_dim": 0, "end_dim": -1},
    check=check,
    rejects=(
        Reject(
            "start_dim is 1 for x of shape (5,), expected -1 <= start_dim < 1",
            {"x": (5,)},
            {"start_dim": 1},
        ),
        Reject("end_dim is 2 for x of shape (3, 5)", {"x": (3, 5)}, {"end_dim": 2}),
        Reject("start_dim is 1.0, expected an integer", {"x": (3, 5)}, {"start_dim": 1.0}),
        Reject(
            "start_dim is axis 2, expected at most end_dim's 1",
            {"x": (2, 3, 5)},
            {"start_dim": 2, "end_dim": 1},
        ),
        Reject("unknown option 'axis'; it takes ['start_dim'", {"x": (3, 5)}, {"axis": 1}),
    ),
    bench=rows.IMAGES_AS_ONE,
    forward=forward,
    backward=backward,
    cases=cases,
)
