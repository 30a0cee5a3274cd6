"""Embedding: rows of a table, picked by integers.

    y[n, d] = weight[indices[n], d]

A row that is picked more than once gets the sum of its gradients, in float32 at least. The row
`padding_idx` is a constant: it is read like the others and its gradient is zero.
Source: Bengio, Ducharme, Vincent, Jauvin 2003, "A Neural Probabilistic Language Model", JMLR 3,
section 2 (the mapping C); padding_idx as in torch.nn.functional.embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, require


def padding(weight: Any, padding_idx: int | None) -> Any:
    """True in the row of weight that is a constant."""
    rows = np.arange(weight.shape[0])[:, None]
    return np.zeros(rows.shape, bool) if padding_idx is None else rows == padding_idx


def forward(indices: Any, weight: Any, *, padding_idx: int | None) -> Any:
    # .real keeps the value and drops the complex step: what a constant does
    table = np.where(padding(weight, padding_idx), weight.real, weight)
    return table[indices], ()


def backward(dy: Any, indices: Any, weight: Any, *, padding_idx: int | None) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    dtable = np.zeros(weight.shape)
    np.add.at(dtable, indices, dy)  # y = table[indices]
    dweight = np.where(padding(weight, padding_idx), 0.0, dtable)  # table = weight, but for a row
    return None, dweight


def check(dims: Dims, o: Options) -> None:
    row, size = o["padding_idx"], dims["V"]
    require(
        row is None or (type(row) is int and 0 <= row < size),
        f"embedding: padding_idx is {row!r}, expected None or an integer in 0 <= i < {size}",
    )


def cases(draw: Any) -> Iterator[Case]:
    # 10 indices below 7: some row is picked twice
    yield Case("2d", {"indices": draw.index(7, 2, 5), "weight": draw(7, 3)})
    padded = np.array([[4, 0, 2], [2, 1, 2]])
    yield Case("padding", {"indices": padded, "weight": draw(5, 4)}, {"padding_idx": 2})
    yield Case("first row", {"indices": np.array([0, 3, 0]), "weight": draw(4, 2)}, FIRST)
    yield Case("one index", {"indices": np.array(2), "weight": draw(3, 5)})
    yield Case("narrow indices", {"indices": np.array([1, 5], np.uint8), "weight": draw(6, 3)})
    yield Case("no indices", {"indices": np.zeros((0, 2), np.int32), "weight": draw(3, 2)})
    yield Case("no columns", {"indices": np.array([1, 1]), "weight": draw(3, 0)})


FIRST: Options = {"padding_idx": 0}
GIVEN = {"indices": (2, 3), "weight": (7, 4)}

SPEC = Op(
    name="embedding",
    path="layers/embedding",
    doc=__doc__,
    args=(Arg("indices", "*N", kind="index", below="V"), Arg("weight", "V D")),
    out="*N D",
    saves=("indices", "weight"),
    shapes=("weight",),
    options={"padding_idx": None},
    check=check,
    rejects=(
        Reject(
            "padding_idx is 7, expected None or an integer in 0 <= i < 7", GIVEN, {"padding_idx": 7}
        ),
        Reject("padding_idx is -1, expected None or an integer", GIVEN, {"padding_idx": -1}),
        Reject("padding_idx is 1.0, expected None or an integer", GIVEN, {"padding_idx": 1.0}),
        Reject("weight has shape (7,), expected (V D)", {"indices": (2, 3), "weight": (7,)}),
        Reject("it takes ['padding_idx']", GIVEN, {"max_norm": 1.0}),
        Reject(
            "indices holds 7, expected 0 <= indices < 7",
            {"indices": (2,), "weight": (7, 4)},
            values={"indices": [0, 7]},
        ),
        Reject(
            "indices holds -1, expected 0 <= indices < 7",
            {"indices": (2,), "weight": (7, 4)},
            values={"indices": [0, -1]},
        ),
        Reject("expected an integer dtype", GIVEN, dtypes={"indices": "float64"}),
    ),
    bench={
        "small": {"N": 64, "V": 101, "D": 16},
        "typical": {"N": 1024, "V": 10000, "D": 128},
        "large": {"N": 4096, "V": 50257, "D": 256},
        "odd": {"N": 1003, "V": 101, "D": 67},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
