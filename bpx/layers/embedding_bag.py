r"""Bags of embeddings: sums or means of rows of a table, picked by integers.

    row[n] = per_sample_weights[n] * weight[indices[n]]
    y[b]   = sum of row[n] over the n with bags[n] = b,
             in a mean divided by the number of these n

bags may come in any order; a bag of nothing is 0. Where indices[n] is padding_idx, n is in no bag
and counts in none, and that row of weight gets no gradient. mode "mean" takes per_sample_weights
too and divides by the number all the same (torch: refused). Sums and gradients in float32 at least.
Out of range, where it cannot be seen (GPU, jit): an index makes its bag NaN, a bag all of them.
Source: Mikolov, Chen, Corrado, Dean 2013, "Efficient Estimation of Word Representations in Vector
Space", arXiv:1301.3781, section 3.1 (projected words are averaged); padding_idx and
per_sample_weights as in torch.nn.functional.embedding_bag.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Arg, Case, Op, Options, Reject, one_of, require

MODES = ("sum", "mean")


def _lines(
    indices: Any,
    weight: Any,
    bags: Any,
    per_sample_weights: Any,
    *,
    num_bags: int,
    mode: str,
    padding_idx: int | None,
) -> Any:
    kept = np.full(indices.shape, True) if padding_idx is None else indices != padding_idx
    share = np.ones(indices.shape) if per_sample_weights is None else per_sample_weights
    picked = weight[indices]
    rows = np.where(kept[:, None], share[:, None] * picked, 0.0)
    total = np.zeros((num_bags, weight.shape[1]), rows.dtype)
    np.add.at(total, bags, rows)
    size = np.maximum(np.bincount(bags[kept], minlength=num_bags), 1)
    divisor = size if mode == "mean" else np.ones(num_bags)
    return kept, share, picked, total, divisor


def forward(
    indices: Any, weight: Any, bags: Any, per_sample_weights: Any = None, **options: Any
) -> Any:
    *_, total, divisor = _lines(indices, weight, bags, per_sample_weights, **options)
    return total / divisor[:, None], ()


def backward(
    dy: Any, indices: Any, weight: Any, bags: Any, per_sample_weights: Any = None, **options: Any
) -> Any:
    """The adjoint of forward, line by line from the bottom."""
    given = indices, weight, bags, per_sample_weights
    kept, share, picked, _, divisor = _lines(*given, **options)
    dtotal = dy / divisor[:, None]  # y = total / divisor
    drows = dtotal[bags]  # total[bags] += rows
    dproduct = np.where(kept[:, None], drows, 0.0)  # rows = where(kept, share * picked, 0)
    dshare = (dproduct * picked).sum(-1)
    dpicked = dproduct * share[:, None]
    dweight = np.zeros(weight.shape)
    np.add.at(dweight, indices, dpicked)  # picked = weight[indices]
    return None, dweight, None, None if per_sample_weights is None else dshare


def check(dims: Dims, o: Options) -> None:
    many, row, size = o["num_bags"], o["padding_idx"], dims["V"]
    require(
        type(many) is int and many >= 0,
        f"embedding_bag: num_bags is {many!r}, expected an integer, at least 0",
    )
    one_of("embedding_bag", "mode", o["mode"], MODES)
    require(
        row is None or (type(row) is int and 0 <= row < size),
        f"embedding_bag: padding_idx is {row!r}, expected None or an integer in 0 <= i < {size}",
    )
    dims["B"] = many


def cases(draw: Any) -> Iterator[Case]:
    def arrays(n: int, v: int, d: int, b: int, weights: bool = False) -> dict[str, Any]:
        found = {"indices": draw.index(v, n), "weight": draw(v, d), "bags": draw.index(b, n)}
        return {**found, "per_sample_weights": draw(n) if weights else None}

    # 9 indices below 7: some row is picked twice
    yield Case("mean", arrays(9, 7, 3, 4), {"num_bags": 4})
    yield Case("sum", arrays(11, 7, 4, 3, True), {"num_bags": 3, "mode": "sum"})
    padded = {**arrays(6, 5, 2, 4, True), "indices": np.array([2, 0, 2, 4, 2, 1])}
    padded["bags"] = np.array([0, 0, 1, 3, 2, 3])  # two of which hold nothing but padding
    yield Case("mean of some", padded, {"num_bags": 4, "padding_idx": 2})
    first = {**arrays(4, 4, 5, 3), "indices": np.array([0, 3, 0, 1], np.int32)}
    yield Case("first row", first, {"num_bags": 3, "padding_idx": 0, "mode": "sum"})
    narrow = {**arrays(3, 4, 2, 2), "bags": np.array([1, 0, 1], np.uint8)}
    yield Case("empty bags, narrow", narrow, {"num_bags": 5})
    yield Case("one index", arrays(1, 1, 5, 1, True), {"num_bags": 1})
    yield Case("no indices", arrays(0, 3, 2, 1), {"num_bags": 2})
    yield Case("no columns", arrays(3, 4, 0, 2), {"num_bags": 2})


GIVEN = {"indices": (3,), "weight": (7, 4), "bags": (3,), "per_sample_weights": None}

SPEC = Op(
    name="embedding_bag",
    path="layers/embedding_bag",
    doc=__doc__,
    args=(
        Arg("indices", "N", kind="index", below="V"),
        Arg("weight", "V D"),
        Arg("bags", "N", kind="index", below="B"),
        Arg("per_sample_weights", "N", optional=True),
    ),
    out="B D",
    saves=("indices", "weight", "bags", "per_sample_weights"),
    options={"num_bags": 1, "mode": "mean", "padding_idx": None},
    check=check,
    rejects=(
        Reject("num_bags is -1, expected an integer, at least 0", GIVEN, {"num_bags": -1}),
        Reject("num_bags is 2.0, expected an integer", GIVEN, {"num_bags": 2.0}),
        Reject("mode is 'max', expected one of ['sum', 'mean']", GIVEN, {"mode": "max"}),
        Reject("padding_idx is 7, expected None or an integer", GIVEN, {"padding_idx": 7}),
        Reject("padding_idx is 1.0, expected None or an integer", GIVEN, {"padding_idx": 1.0}),
        Reject("bags has shape (4,), but dim N is 3", {**GIVEN, "bags": (4,)}),
        Reject("weight has shape (7,), expected (V D)", {**GIVEN, "weight": (7,)}),
        Reject("has shape (2,), but dim N is 3", {**GIVEN, "per_sample_weights": (2,)}),
        Reject(
            "indices holds 7, expected 0 <= indices < 7",
            GIVEN,
            values={"indices": [0, 7, 1], "bags": [0, 0, 0]},
        ),
        Reject(
            "bags holds 2, expected 0 <= bags < 2",
            GIVEN,
            {"num_bags": 2},
            values={"indices": [0, 6, 1], "bags": [0, 2, 1]},
        ),
        Reject("expected an integer dtype", GIVEN, dtypes={"bags": "float64"}),
    ),
    bench={
        "small": {"N": 128, "V": 101, "D": 64, "B": 8, "num_bags": 8},
        "typical": {"N": 8192, "V": 10000, "D": 64, "B": 512, "num_bags": 512},
        "large": {"N": 32768, "V": 50257, "D": 128, "B": 1024, "num_bags": 1024},
        "odd": {"N": 1003, "V": 101, "D": 67, "B": 37, "num_bags": 37},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
