"""The sizes and numbers of the native attention kernels, as both frameworks give them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Shape = Sequence[int]


def arguments(
    query: Shape, key: Shape, value: Shape, options: dict[str, Any]
) -> tuple[tuple[int, ...], tuple[float, float]]:
    """(sizes, numbers) but for the steps of the mask and the arrays, which follow the sizes."""
    (b, h, t, d), (k, s) = query, key[1:3]
    left, right = options["window"] or (None, None)
    right = 0 if options["causal"] else right
    left, right = (max(t, s) if n is None else min(n, max(t, s)) for n in (left, right))
    cap, scale = options["softcap"], options["scale"]
    sizes = (b, h, k, t, s, d, value[3], left, right, int(cap is not None))
    return sizes, (1 / math.sqrt(d) if scale is None else scale, 1.0 if cap is None else cap)


def steps(shape: Shape, strides: Sequence[int]) -> tuple[int, ...]:
    """From one element of the mask to the next in each dim, 0 where there is one."""
    return tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))


ARRAYS = 8  # query, key, value, y, and dy, dquery, dkey, dvalue where there are


def strides(*found: Sequence[int]) -> tuple[int, ...]:
    """The steps over batch, head and row of the arrays, 0 for those that a call does not have."""
    return (*(s for steps in found for s in steps[:3]), *[0] * (3 * (ARRAYS - len(found))))
