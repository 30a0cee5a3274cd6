"""From a record and a key to an array: what the three trees run.

The mathematics is float64 on the host and rounded once, so a key gives the same weights in NumPy,
torch and JAX. On another machine the float64 values may differ in their last bit (log, LAPACK).
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from bpx import random
from bpx.spec import Initializer, Options, SpecError, require


def complete(spec: Initializer, options: Options) -> Options:
    """The options of a call with the defaults filled in, in the order of the record."""
    for name in options:
        if name not in spec.options:
            raise SpecError(f"{spec.name}: unknown option {name!r}; it takes {list(spec.options)}")
    return {**spec.options, **options}


def checked(spec: Initializer, shape: Any, options: Options) -> tuple[tuple[int, ...], Options]:
    """The shape and the complete options of a call that fits the record, or SpecError."""
    sizes = shape if isinstance(shape, tuple | list) else (None,)
    require(
        all(isinstance(n, Integral) and int(n) >= 0 for n in sizes),
        f"{spec.name}: shape is {shape!r}, expected a tuple of sizes at least 0",
    )
    shape, options = tuple(int(n) for n in sizes), complete(spec, options)
    if spec.check is not None:
        spec.check(shape, options)
    return shape, options


def draw(spec: Initializer, key: Any, shape: Any, **options: Any) -> Any:
    """The float64 array of a key."""
    shape, options = checked(spec, shape, options)

    def noise(kind: str, shape: tuple[int, ...]) -> Any:
        return {"uniform": random.uniform, "normal": random.normal}[kind](key, shape, np.float64)

    return spec.from_noise(noise, shape, **options)


def rounded(x: Any, dtype: Any) -> Any:
    """float64 rounded once, to the nearest, to a floating dtype of NumPy or ml_dtypes."""
    dtype = np.dtype(dtype)
    narrow = dtype.itemsize < 4
    with np.errstate(over="ignore"):  # infinite, as torch and JAX have it
        return (to_odd_float32(x) if narrow else x).astype(dtype)


def to_odd_float32(x: Any) -> Any:
    """float64 to float32, rounded to odd: then a narrower dtype is its correct rounding.

    torch and ml_dtypes go from float64 to bfloat16 (torch to float16 too) by float32: two roundings
    to nearest, which miss wherever the first one makes a tie.
    """
    x = np.asarray(x, np.float64)
    with np.errstate(over="ignore"):
        near = x.astype(np.float32)
    back = near.astype(np.float64)
    word = near.view(np.uint32) - (np.abs(back) > np.abs(x)).astype(np.uint32)  # towards zero
    return (word | (back != x).astype(np.uint32)).view(np.float32)
