r"""InfoNCE: each query against the keys of its batch, its own the positive, the others negatives.

    s    = query @ key^T / temperature
    lse  = log(sum_keys(exp(s)))                  shifted by the row's maximum
    loss = lse - diagonal(s)
    y    = sum(loss) / rows | sum(loss) | loss

The similarity is the dot product: for the cosine, normalise both before. One direction only, from
queries to keys; the symmetric loss is the mean of it and of that with the arguments exchanged. The
mean over no rows is 0. Both arguments have a gradient.
Source: van den Oord, Li, Vinyals 2018, "Representation Learning with Contrastive Predictive
Coding", arXiv:1807.03748, eq. 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.losses._reduction import check_reduction, reduce, reduce_adjoint, reject_reduction
from bpx.spec import Arg, Case, Op, Options, Reject, number, require


def _lines(query: Any, key: Any, temperature: float) -> Any:
    s = query @ key.T / temperature
    top = s.real.max(-1, keepdims=True, initial=-np.inf)
    mass = np.exp(s - top).sum(-1, keepdims=True)
    lse = top + np.log(mass)
    return s, top, mass, lse[..., 0]


def forward(query: Any, key: Any, *, temperature: float, reduction: str) -> Any:
    s, _, _, lse = _lines(query, key, temperature)
    return reduce(lse - s.diagonal(), reduction), ()


def backward(dy: Any, query: Any, key: Any, *, temperature: float, reduction: str) -> Any:
    """The adjoint of forward, line by line from the bottom; nothing is simplified."""
    s, top, mass, lse = _lines(query, key, temperature)
    dloss = reduce_adjoint(dy, lse, reduction)  # y = reduce(loss)
    ds = np.diag(-dloss)  # loss = lse - diagonal(s)
    dmass = dloss[..., None] / mass  # lse = top + log(mass)
    # mass = sum_keys(exp(s - top)); top is a shift: its paths here and in lse cancel
    ds = ds + dmass * np.exp(s - top)
    dquery = ds @ key / temperature  # s = query @ key^T / temperature
    return dquery, ds.T @ query / temperature


def out(options: Options) -> str:
    return "N" if options["reduction"] == "none" else ""


def cases(draw: Any) -> Iterator[Case]:
    def arrays(n: int, d: int) -> dict[str, Any]:
        return {"query": draw(n, d), "key": draw(n, d)}

    yield Case("mean", arrays(5, 3))
    yield Case("sum", arrays(3, 4), {"temperature": 0.5, "reduction": "sum"})
    yield Case("none", arrays(4, 2), {"temperature": 2.5, "reduction": "none"})
    yield Case("sharp", arrays(6, 3), {"temperature": 0.07, "reduction": "none"})
    yield Case("no rows", arrays(0, 3))
    yield Case("one place", arrays(3, 1), {"temperature": 0.7})


def check(dims: Dims, options: Options) -> None:
    check_reduction("info_nce", options)
    t = options["temperature"]
    number("info_nce", "temperature", t)
    require(t > 0, f"info_nce: temperature is {t}, expected more than 0")


_SHAPES = {"query": (3, 5), "key": (3, 5)}

SPEC = Op(
    name="info_nce",
    path="losses/info_nce",
    doc=__doc__,
    args=(Arg("query", "N D"), Arg("key", "N D")),
    out=out,
    saves=("query", "key"),
    options={"temperature": 1.0, "reduction": "mean"},
    check=check,
    rejects=(
        Reject("key has shape (4, 5), but dim N is 3", {**_SHAPES, "key": (4, 5)}),
        Reject("key has shape (3, 4), but dim D is 5", {**_SHAPES, "key": (3, 4)}),
        Reject("query has shape (5,), expected (N D)", {"query": (5,), "key": (5,)}),
        Reject("temperature is 0.0, expected more than 0", _SHAPES, {"temperature": 0.0}),
        Reject("temperature is None, expected a number", _SHAPES, {"temperature": None}),
        reject_reduction(_SHAPES),
        Reject("expected a floating dtype", _SHAPES, dtypes={"key": "int64"}),
    ),
    bench={
        "small": {"N": 64, "D": 64},
        "typical": {"N": 512, "D": 128},
        "large": {"N": 2048, "D": 256},
        "odd": {"N": 101, "D": 67},
    },
    forward=forward,
    backward=backward,
    cases=cases,
)
