"""What joins the layers of a network: shapes and sums, in NumPy, forward and backward.

A framework has the same names in a table of its own, as its own operations: nothing is computed
here but sums, and the gradients of these are the framework's chain rule between the layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Index = tuple[int | None, ...]


@dataclass(frozen=True)
class Wiring:
    """forward(*arrays, **options) -> y; backward(dy, *arrays, **options) -> a gradient for each
    array, None for one that none flows to."""

    forward: Callable[..., Any]
    backward: Callable[..., tuple[Any, ...]]


def _reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    return x.reshape(x.shape[0], *shape)


def _reshape_adjoint(dy: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    return (dy.reshape(x.shape),)


def _transpose(x: Any, *, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes)


def _transpose_adjoint(dy: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
    return (dy.transpose(np.argsort(axes)),)


def _add(a: Any, b: Any) -> Any:
    return a + b


def _add_adjoint(dy: Any, a: Any, b: Any) -> Any:
    return _shaped(dy, a), _shaped(dy, b)


def _shaped(dy: Any, a: Any) -> Any:
    """The sum over the axes along which `a` has size 1 and was repeated."""
    axes = tuple(i for i, (n, m) in enumerate(zip(a.shape, dy.shape, strict=True)) if n != m)
    return dy.sum(axes, keepdims=True) if axes else dy


def at(index: Index) -> tuple[Any, ...]:
    """An index: a number picks, None keeps the whole axis."""
    return tuple(slice(None) if i is None else i for i in index)


def _pick(x: Any, *, index: Index) -> Any:
    return x[at(index)]


def _pick_adjoint(dy: Any, x: Any, *, index: Index) -> Any:
    dx = np.zeros(x.shape)
    dx[at(index)] = dy
    return (dx,)


def _concat(a: Any, b: Any) -> Any:
    return np.concatenate([a, b])


def _concat_adjoint(dy: Any, a: Any, b: Any) -> Any:
    return dy[: len(a)], dy[len(a) :]


def _zeros(x: Any, *, axis: int, width: int) -> Any:
    return np.zeros((x.shape[axis], width))


def _zeros_adjoint(dy: Any, x: Any, *, axis: int, width: int) -> Any:
    return (None,)


WIRING = {
    "reshape": Wiring(_reshape, _reshape_adjoint),  # all axes but the first
    "transpose": Wiring(_transpose, _transpose_adjoint),
    "add": Wiring(_add, _add_adjoint),
    "pick": Wiring(_pick, _pick_adjoint),
    "zeros": Wiring(_zeros, _zeros_adjoint),  # as many rows as x has along an axis
    "concat": Wiring(_concat, _concat_adjoint),  # along the first axis
}
