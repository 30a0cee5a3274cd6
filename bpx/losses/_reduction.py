"""The last line of a loss: none, sum or mean over the elements (or rows), and its adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import Options, Reject, one_of

REDUCTIONS = ("mean", "sum", "none")


def out(options: Options) -> str:
    return "*N" if options["reduction"] == "none" else ""


def check_reduction(entry: str, options: Options) -> None:
    one_of(entry, "reduction", options["reduction"], REDUCTIONS)


def reduce(loss: Any, reduction: str) -> Any:
    """The mean over nothing is 0, where torch and NumPy give NaN."""
    if reduction == "none":
        return loss
    return loss.sum() / max(loss.size, 1) if reduction == "mean" else loss.sum()


def reduce_adjoint(dy: Any, loss: Any, reduction: str) -> Any:
    """dloss from dy, where y = reduce(loss)."""
    if reduction == "mean":
        dy = dy / max(loss.size, 1)
    return np.broadcast_to(dy, loss.shape)


def reject_reduction(shapes: dict[str, Any]) -> Reject:
    return Reject(
        "reduction is 'average', expected one of ['mean', 'sum', 'none']",
        shapes,
        {"reduction": "average"},
    )


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of this shape can stand beside one of shape `to` and leave it at that."""
    if len(shape) > len(to):
        return False
    tail = to[len(to) - len(shape) :]
    return all(have in (1, want) for have, want in zip(shape, tail, strict=True))


def broadcast_problem(dims: Dims, name: str, argument: str) -> str | None:
    """None, or what is wrong with the shape of an argument that must broadcast to *N."""
    if name not in dims or broadcasts(dims[name], dims["N"]):
        return None
    return f"{argument} has shape {dims[name]}, expected one that broadcasts to {dims['N']}"


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting an array of this shape to g's."""
    lead = g.ndim - len(shape)
    g = g.sum(tuple(range(lead)))
    return g.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
