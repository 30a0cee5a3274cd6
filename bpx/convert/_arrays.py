"""The arrays that are carried over: their dtypes, bfloat16 among them, and how a layout moves them.

NumPy has no bfloat16. It is carried as its 16 bits, in a record dtype of one field: everything but
arithmetic works as for a number, and arithmetic by mistake raises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bpx.spec import require

Array = NDArray[Any]
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
# the safetensors name -> NumPy's
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "BF16": BFLOAT16,
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def name_of(what: str, a: Array) -> str:
    """The safetensors name of an array's dtype. Raises SpecError where it has none here."""
    name = NAMES.get(a.dtype)
    require(name is not None, f"convert: {what} has dtype {a.dtype}, expected one of {[*DTYPES]}")
    assert name is not None
    return name


def is_floating(a: Array) -> bool:
    return a.dtype == BFLOAT16 or a.dtype.kind == "f"


def widened(a: Array) -> Array:
    """Float64 of any floating array, bfloat16 included: exact."""
    if a.dtype == BFLOAT16:
        bits = a.view("<u2").astype("<u4") << np.uint32(16)
        return bits.view("<f4").astype(np.float64)
    return a.astype(np.float64)


def rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    """Float64 to a floating dtype, to nearest even."""
    if dtype != BFLOAT16:
        return a.astype(dtype)
    single = a.astype("<f4")
    # the second rounding of a tie that the first one made would be wrong: break it by the remainder
    bits = single.view("<u4")
    tie = (bits & np.uint32(0xFFFF)) == 0x8000
    beyond = np.abs(a) > np.abs(single.astype(np.float64))
    short = np.abs(a) < np.abs(single.astype(np.float64))
    up = (bits >> np.uint32(16)) & np.uint32(1)  # even stays
    up = np.where(tie & beyond, np.uint32(1), np.where(tie & short, np.uint32(0), up))
    high = (bits + np.uint32(0x7FFF) + up) >> np.uint32(16)
    high = np.where(np.isnan(single), (bits >> np.uint32(16)) | np.uint32(0x40), high)
    return high.astype("<u2").view(BFLOAT16)


def added(a: Array, b: Array) -> Array:
    """a + b, rounded once; a itself, sign of zero included, where b is all zero."""
    return rounded(widened(a) + widened(b), a.dtype) if nonzero(b) else a


def scaled(a: Array, factor: float) -> Array:
    return rounded(widened(a) * factor, a.dtype)


def nonzero(a: Array) -> bool:
    return bool(np.any(widened(a) != 0))


def channels_last(a: Array) -> Array:
    """(out, in, *W) to (*W, in, out): OIHW to HWIO; of a matrix, its transpose."""
    return a.transpose(*range(2, a.ndim), 1, 0)


def channels_first(a: Array) -> Array:
    """The inverse of channels_last."""
    return a.transpose(a.ndim - 1, a.ndim - 2, *range(a.ndim - 2))


def swapped_last(a: Array) -> Array:
    """(in, out, *W) to (*W, in, out)."""
    return a.transpose(*range(2, a.ndim), 0, 1)


def swapped_first(a: Array) -> Array:
    """The inverse of swapped_last."""
    return a.transpose(a.ndim - 2, a.ndim - 1, *range(a.ndim - 2))


def turned(a: Array, axes: tuple[int, ...]) -> Array:
    """Reversed along axes: correlation to convolution, and back."""
    return np.flip(a, axes) if axes else a


def regrouped(a: Array, groups: int) -> Array:
    """(groups*I, O, *W) to (groups*O, I, *W), within each group; its own inverse."""
    rows, columns, *window = a.shape
    parts = a.reshape(groups, rows // groups, columns, *window)
    return parts.swapaxes(1, 2).reshape(groups * columns, rows // groups, *window)
