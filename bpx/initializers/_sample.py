"""Weights in NumPy, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx import initializers
from bpx.initializers._draw import draw, rounded
from bpx.spec import Initializer, require


def sample(
    entry: str | Initializer,
    key: Any,
    shape: tuple[int, ...],
    dtype: Any = np.float32,
    **options: Any,
) -> Any:
    """An initialized array.

    Args: the name of an initializer or its record; a key of `bpx.random` or an int seed; the shape;
    a floating dtype; the entry's options. Raises SpecError for what does not fit.

    >>> sample("xavier_uniform", 7, (2, 3))
    array([[...]], dtype=float32)
    """
    known = {e.name: e for e in initializers.ALL}
    if isinstance(entry, str):
        require(entry in known, f"sample: entry is {entry!r}, expected one of {list(known)}")
        entry = known[entry]
    return rounded(draw(entry, key, shape, **options), checked_dtype(dtype))


def checked_dtype(dtype: Any) -> np.dtype[Any]:
    """The dtype, which is a floating one: NumPy's, or ml_dtypes' by its name."""
    known: np.dtype[Any] = np.dtype(dtype)
    floating = known.kind == "f" or "float" in known.name
    require(floating, f"sample: dtype is {known.name}, expected a floating dtype")
    return known
