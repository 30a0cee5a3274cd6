"""Muon's iteration on a leaf of any rank, whose axes form a batch of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bpx.spec import SpecError

FLOOR = 1e-8  # of the squares that aol and schatten divide by


class MuonDimensionNumbers(NamedTuple):
    """Which axes of a leaf are the inputs and which the outputs; the others are a batch."""

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


def is_numbers(x: Any) -> bool:
    return hasattr(x, "reduction_axis") and hasattr(x, "output_axis")


class Layout:
    """How a leaf is read as (batch, inputs, outputs)."""

    def __init__(self, shape: tuple[int, ...], numbers: Any) -> None:
        rank = len(shape)

        def axes(given: Sequence[int] | int) -> tuple[int, ...]:
            return tuple(a % rank for a in ((given,) if isinstance(given, int) else given))

        if rank < 2:
            raise SpecError(f"muon: a leaf has shape {shape}, expected at least two dims")
        rows, columns = axes(numbers.reduction_axis), axes(numbers.output_axis)
        if {*rows} & {*columns}:
            raise SpecError(
                f"muon: the dimension numbers of a leaf of shape {shape} are {tuple(numbers)}, "
                "expected axes that are either of the inputs or of the outputs"
            )
        batch = tuple(a for a in range(rank) if a not in rows and a not in columns)
        self.order = batch + rows + columns
        self.shape = tuple(shape[a] for a in self.order)
        self.inputs = math.prod(shape[a] for a in rows)
        self.outputs = math.prod(shape[a] for a in columns)
        self.flat = (math.prod(shape[a] for a in batch), self.inputs, self.outputs)

    def matrices(self, x: Any) -> Any:
        return x.transpose(self.order).reshape(self.flat)

    def leaf(self, x: Any) -> Any:
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return x.reshape(self.shape).transpose(back)


def orthogonalize(x: Any, coefficients: Any, steps: int, how: str, eps: Any, added: bool) -> Any:
    """A batch of matrices with singular values brought near 1."""
    if x.size == 0:
        return x
    if x.ndim == 3 and x.shape[0] == 1:  # a CPU takes half as long again for a batch's products
        return orthogonalize(x[0], coefficients, steps, how, eps, added)[None]
    if x.shape[-2] > x.shape[-1]:
        flipped = orthogonalize(jnp.swapaxes(x, -1, -2), coefficients, steps, how, eps, added)
        return jnp.swapaxes(flipped, -1, -2)
    if how in ("frobenius", "spectral"):
        if how == "frobenius":
            size = jnp.sqrt(jnp.sum(x * x, axis=(-2, -1), keepdims=True))
        else:
            size = jnp.linalg.svd(x, compute_uv=False)[..., :1, None]
        below = size + eps if added else jnp.maximum(size, eps)
    else:
        gram = jnp.abs(_gram(x))
        if how == "aol":
            squares = jnp.sum(gram, axis=-1, keepdims=True)
        else:
            squares = jnp.sqrt(jnp.sum(gram * gram, axis=(-2, -1), keepdims=True))
        below = jnp.sqrt(jnp.maximum(squares, jnp.asarray(FLOOR, x.dtype)))
    x = x / jnp.where(below > 0, below, jnp.ones_like(below))
    coefficients = coefficients.astype(x.dtype)
    for i in range(steps if coefficients.ndim == 1 else coefficients.shape[0]):
        a, b, c = coefficients if coefficients.ndim == 1 else coefficients[i]
        gram = _gram(x)
        x = a * x + jnp.matmul(b * gram + c * jnp.matmul(gram, gram), x)
    return x


def _gram(x: Any) -> jax.Array:
    return jnp.matmul(x, jnp.swapaxes(x, -1, -2))
