"""Bytes of an optimizer's state, from the arrays that its entry starts with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from bpx.spec import Optimizer, Options, SpecError

Shape = tuple[int, ...]
MATRIX, VECTOR = (7, 5), (11,)  # distinct primes, so that a size tells which dim it is
NAMES = {7: "R", 5: "C", 11: "N"}


def state_shapes(spec: Optimizer, shape: Shape, **options: Any) -> dict[str, Shape]:
    """The arrays that a framework keeps for one parameter of this shape, one dim or more: without
    single numbers, the group's arrays, and those that follow from the parameter and the others."""
    state = spec.init(np.zeros(shape), **{**spec.options, **options})
    left_out = {*spec.shared, *spec.derived}
    return {k: a.shape for k, a in state.items() if k not in left_out and a.shape != ()}


def state_bytes(spec: Optimizer, shape: Shape, itemsize: int = 4, **options: Any) -> int:
    """Bytes of the state of one parameter, beside single numbers (step counts); `itemsize` is that
    of the accumulators: 8 for float64, 4 for float32 and, in PyTorch, for 16-bit parameters."""
    return itemsize * sum(map(math.prod, state_shapes(spec, shape, **options).values()))


def rows(spec: Optimizer) -> Iterator[tuple[str, str, str, str]]:
    """Options, the arrays they keep, and their bytes in float32 and in float64: for the defaults,
    then for each option of the entry's trials that alone changes them."""
    seen = [_row(spec, {})]
    yield "defaults", *seen[0]
    for trial in spec.trials:
        for name, value in trial.items():
            if (row := _row(spec, {name: value})) not in seen:
                seen.append(row)
                yield f"{name} = {value!r}", *row


def _row(spec: Optimizer, options: Options) -> tuple[str, str, str]:
    kept = [_arrays(spec, shape, options) for shape in (MATRIX, VECTOR)]
    names = ", ".join(dict.fromkeys(name for arrays in kept for name in arrays or ()))
    return names or "none", _formula(kept, 4), _formula(kept, 8)


def _arrays(spec: Optimizer, shape: Shape, options: Options) -> dict[str, Shape] | None:
    try:
        return state_shapes(spec, shape, **options)
    except SpecError:  # the entry takes no array of so many dims
        return None


def _formula(kept: list[dict[str, Shape] | None], itemsize: int) -> str:
    of_matrix, of_vector = (None if arrays is None else _terms(arrays, itemsize) for arrays in kept)
    if of_vector is None or of_matrix == of_vector:
        return f"{of_matrix}"
    return f"{of_matrix} of a matrix, {of_vector} of a vector"


def _terms(arrays: dict[str, Shape], itemsize: int) -> str:
    """Such as "4 n + 4 R": n elements, in a matrix R rows and C columns."""
    dims = ("".join(sorted((NAMES[n] for n in s if n != 1), reverse=True)) for s in arrays.values())
    products = Counter({"RC": "n", "N": "n", "NN": "n n"}.get(d, " ".join(d)) for d in dims)
    order = ["n", "n n", "R R", "R", "C C", "C"]
    terms = (f"{itemsize * products[d]} {d}".strip() for d in order if d in products)
    return " + ".join(terms) or "0"
