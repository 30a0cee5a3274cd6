"""Dropout: elements, or whole slices, set to zero, the rest scaled up; the mask is given.

    y = x / (1 - p)    where the mask keeps
    y = 0              where it does not, and everywhere for p = 1

`bits` is the mask in row-major order, eight to a byte, the first in the lowest bit: 1 keeps. It has
the shape of x with size 1 along `broadcast_dims`, where one bit decides for all. What is dropped is
0 for any x, infinities and NaN included. `keep_bits` draws it: element i is dropped where the i-th
word of 32 random bits is below p 2^32, an integer comparison, so that one key gives one mask in
NumPy, PyTorch and JAX.
Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, "Dropout: A Simple Way to
Prevent Neural Networks from Overfitting", JMLR 15, section 10 (scaled while training); slices:
Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks", arXiv:1411.4280.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx import random
from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, SpecError, number, require


def mask_shape(shape: tuple[int, ...], broadcast_dims: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x with size 1 along broadcast_dims."""
    shared = {d % len(shape) for d in broadcast_dims}
    return tuple(1 if d in shared else n for d, n in enumerate(shape))


def checked_rate(p: Any) -> None:
    if type(p) is not float:  # which writes its sentence of any number
        number("dropout", "p", p)
    if not 0 <= p <= 1:
        raise SpecError(f"dropout: p is {p}, expected 0 <= p <= 1")


def threshold(p: float) -> int:
    """The number of the 2^32 words that drop an element."""
    checked_rate(p)
    return round(p * 2**32)


def keep_bits(key: Any, shape: tuple[int, ...], *, p: float) -> Any:
    """The packed mask of a key: uint8, one bit for each element of shape, 1 with probability
    1 - p."""
    keep = random.bits(key, shape).astype(np.uint64) >= threshold(p)
    return np.packbits(keep, bitorder="little")


def unpack(bits: Any, shape: tuple[int, ...]) -> Any:
    count = math.prod(shape)
    return np.unpackbits(bits, count=count, bitorder="little").reshape(shape) == 1


def factor(p: float) -> float:
    return 0.0 if p == 1 else 1 / (1 - p)


def forward(x: Any, bits: Any, *, p: float, broadcast_dims: tuple[int, ...]) -> Any:
    keep = unpack(bits, mask_shape(x.shape, broadcast_dims)) & (p < 1)
    scaled = x * factor(p)
    return np.where(keep, scaled, 0.0), ()


def backward(dy: Any, x: Any, bits: Any, *, p: float, broadcast_dims: tuple[int, ...]) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    keep = unpack(bits, mask_shape(x.shape, broadcast_dims)) & (p < 1)
    dscaled = np.where(keep, dy, 0.0)  # y = where(keep, scaled, 0)
    dx = dscaled * factor(p)  # scaled = x * factor
    return dx, None


def check(dims: Dims, o: Options) -> None:
    shape, p, shared = dims["N"], o["p"], o["broadcast_dims"]
    checked_rate(p)
    known = isinstance(shared, tuple) and all(
        type(d) is int and -len(shape) <= d < len(shape) for d in shared
    )
    require(
        known,
        f"dropout: broadcast_dims is {shared!r}, expected a tuple of dims of x, which has "
        f"{len(shape)}",
    )
    count = math.prod(mask_shape(shape, shared))
    require(
        dims["B"] == -(-count // 8),
        f"dropout: bits has {dims['B']} bytes, expected {-(-count // 8)} for {count} elements",
    )


def cases(draw: Any) -> Iterator[Case]:
    def bits(size: int) -> Any:
        return draw.index(256, size).astype(np.uint8)

    yield Case("2d", {"x": draw(3, 5), "bits": bits(2)}, {"p": 0.3})
    channels: Options = {"broadcast_dims": (-1,)}
    yield Case("channels", {"x": draw(2, 5, 4), "bits": bits(2)}, channels)
    yield Case("two dims", {"x": draw(7, 2, 3), "bits": bits(1)}, {"broadcast_dims": (1, 2)})
    yield Case("nothing dropped", {"x": draw(2, 4), "bits": np.array([255], np.uint8)}, {"p": 0.0})
    endless = np.array([[1.5, np.inf, np.nan], [-np.inf, -0.5, 2.0]])
    yield Case("all dropped", {"x": endless, "bits": np.array([255], np.uint8)}, {"p": 1.0})
    yield Case("scalar", {"x": draw(), "bits": np.array([1], np.uint8)}, {"p": 0.9})
    yield Case("no rows", {"x": draw(0, 3), "bits": bits(0)})


GIVEN = {"x": (3, 5), "bits": (2,)}

SPEC = Op(
    name="dropout",
    path="layers/dropout",
    doc=__doc__,
    args=(Arg("x", "*N"), Arg("bits", "B", kind="bits")),
    out="*N",
    saves=("bits",),
    options={"p": 0.5, "broadcast_dims": ()},
    check=check,
    rejects=(
        Reject("p is 1.5, expected 0 <= p <= 1", GIVEN, {"p": 1.5}),
        Reject("p is -0.1, expected 0 <= p <= 1", GIVEN, {"p": -0.1}),
        Reject("p is nan, expected 0 <= p <= 1", GIVEN, {"p": math.nan}),
        Reject("p is None, expected a number", GIVEN, {"p": None}),
        Reject("bits has 2 bytes, expected 3 for 18 elements", {"x": (3, 6), "bits": (2,)}),
        Reject("bits has 2 bytes, expected 1 for 3 elements", GIVEN, {"broadcast_dims": (1,)}),
        Reject(
            "broadcast_dims is (2,), expected a tuple of dims of x, which has 2",
            GIVEN,
            {"broadcast_dims": (2,)},
        ),
        Reject("broadcast_dims is 1, expected a tuple of dims", GIVEN, {"broadcast_dims": 1}),
        Reject("bits is None, expected (B)", {"x": (3, 5), "bits": None}),
        Reject("expected", GIVEN, dtypes={"bits": "int32"}),
        Reject("it takes ['p', 'broadcast_dims']", GIVEN, {"rate": 0.5}),
    ),
    bench={
        "small": {"N": 1000, "B": 125},
        "typical": {"N": 262144, "B": 32768},
        "large": {"N": 4194304, "B": 524288},
        "odd": {"N": 1000003, "B": 125001},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
