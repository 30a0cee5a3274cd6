"""Rotary position embedding: pairs of features turned by an angle that grows with the position.

    y1[t, p] = x1[t, p] cos[t, p] - x2[t, p] sin[t, p]
    y2[t, p] = x2[t, p] cos[t, p] + x1[t, p] sin[t, p]

The first R = 2 P of the D features are turned, the rest passes. x1 and x2 are their first and their
second half, or with `interleaved` those at even and at odd places. The tables hold one angle a pair
and need not lie on the circle: their gradients are those of any factors. `tables` gives the usual
ones, angle[t, p] = t / base^(2 p / R).
Source: Su, Lu, Pan, Murtadha, Wen, Liu 2021, "RoFormer: Enhanced Transformer with Rotary Position
Embedding", arXiv:2104.09864, equation 34 (interleaved) and section 3.2.2 (the angles).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def tables(length: int, size: int, *, base: float = 10000.0) -> Any:
    """(cos, sin), each (length, size / 2) in float64, for positions 0 ... length - 1 and `size`
    turned features."""
    require(
        size >= 0 and size % 2 == 0, f"rope: size is {size}, expected an even number at least 0"
    )
    angle = np.arange(length)[:, None] * base ** (-2.0 * np.arange(size // 2) / max(size, 1))
    return np.cos(angle), np.sin(angle)


def places(pairs: int, interleaved: bool) -> tuple[slice, slice]:
    """Where the first and the second of each pair are."""
    if interleaved:
        return slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    return slice(0, pairs), slice(pairs, 2 * pairs)


def forward(x: Any, cos: Any, sin: Any, *, interleaved: bool) -> Any:
    first, second = places(cos.shape[1], interleaved)
    x1, x2 = x[..., first], x[..., second]
    y1 = x1 * cos - x2 * sin
    y2 = x2 * cos + x1 * sin
    y = np.array(x, dtype=np.result_type(x, cos, sin))
    y[..., first], y[..., second] = y1, y2
    return y, ()


def backward(dy: Any, x: Any, cos: Any, sin: Any, *, interleaved: bool) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    first, second = places(cos.shape[1], interleaved)
    x1, x2 = x[..., first], x[..., second]
    dy1, dy2 = dy[..., first], dy[..., second]  # y[first] = y1, y[second] = y2
    dx2, dcos = dy2 * cos, dy2 * x2  # y2 = x2 * cos + ...
    dx1, dsin = dy2 * sin, dy2 * x1  # y2 = ... + x1 * sin
    dx1, dcos = dx1 + dy1 * cos, dcos + dy1 * x1  # y1 = x1 * cos - ...
    dx2, dsin = dx2 - dy1 * sin, dsin - dy1 * x2  # y1 = ... - x2 * sin
    dx = np.array(dy)  # y = x, but for the pairs
    dx[..., first], dx[..., second] = dx1, dx2
    rows = tuple(range(x.ndim - 2))  # the tables are repeated over them
    return dx, dcos.sum(rows), dsin.sum(rows)


def check(dims: Dims, o: Options) -> None:
    pairs, size, interleaved = dims["P"], dims["D"], o["interleaved"]
    require(
        2 * pairs <= size,
        f"rope: cos has {pairs} pairs, expected at most {size // 2} for the {size} features of x",
    )
    require(
        isinstance(interleaved, bool),
        f"rope: interleaved is {interleaved!r}, expected True or False",
    )


def cases(draw: Any) -> Iterator[Case]:
    def given(*shape: int, pairs: int) -> dict[str, Any]:
        return {"x": draw(*shape), "cos": draw(shape[-2], pairs), "sin": draw(shape[-2], pairs)}

    odd: Options = {"interleaved": True}
    yield Case("halves", given(2, 3, 4, pairs=2))
    yield Case("interleaved", given(2, 5, 6, pairs=3), odd)
    yield Case("partial", given(3, 5, pairs=1))
    yield Case("partial, interleaved", given(2, 1, 3, 7, pairs=2), odd)
    cos, sin = tables(5, 4, base=100.0)
    yield Case("on the circle", {"x": draw(2, 5, 4), "cos": cos, "sin": sin})
    yield Case("no pairs", given(2, 3, pairs=0))
    yield Case("no rows", given(0, 3, 4, pairs=2))


GIVEN = {"x": (2, 3, 4), "cos": (3, 2), "sin": (3, 2)}

SPEC = Op(
    name="rope",
    path="layers/rope",
    doc=__doc__,
    args=(Arg("x", "*N T D"), Arg("cos", "T P"), Arg("sin", "T P")),
    out="*N T D",
    saves=("x", "cos", "sin"),
    options={"interleaved": False},
    check=check,
    rejects=(
        Reject(
            "cos has 3 pairs, expected at most 2 for the 5 features of x",
            {"x": (4, 5), "cos": (4, 3), "sin": (4, 3)},
        ),
        Reject("cos has shape (4, 2), but dim T is 3", {**GIVEN, "cos": (4, 2)}),
        Reject("sin has shape (3, 1), but dim P is 2", {**GIVEN, "sin": (3, 1)}),
        Reject("interleaved is 1, expected True or False", GIVEN, {"interleaved": 1}),
        Reject("it takes ['interleaved']", GIVEN, {"base": 10000.0}),
    ),
    bench={
        "small": {"N": 2, "T": 16, "D": 16, "P": 8},
        "typical": {"N": 32, "T": 128, "D": 64, "P": 32},
        "large": {"N": 128, "T": 512, "D": 64, "P": 32},
        "odd": {"N": 7, "T": 1003, "D": 96, "P": 16},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
