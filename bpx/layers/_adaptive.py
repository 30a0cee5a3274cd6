"""Windows whose number is given: window o of O along an axis of S elements holds the elements
floor(o S / O) <= p < ceil((o + 1) S / O)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from bpx.dims import Dims
from bpx.layers._window import check_sizes, per_axis
from bpx.spec import Options, require

Box = tuple[slice, ...]


def output_sizes(sizes: tuple[int, ...], output_size: Any) -> tuple[int, ...]:
    """How many windows each axis has; None means one for each element."""
    wanted = per_axis(output_size, len(sizes))
    return tuple(s if o is None else o for s, o in zip(sizes, wanted, strict=True))


def check_output_size(entry: str, dims: Dims, o: Options) -> None:
    """Check output_size, and add the sizes of the output to dims as O."""
    n = check_sizes(entry, dims)
    value = o["output_size"]
    each = value if isinstance(value, tuple) else (value,) * n
    require(
        len(each) == n and all(v is None or (type(v) is int and v > 0) for v in each),
        f"{entry}: output_size is {value!r}, expected an integer of at least 1, or None for the "
        f"size of x, or {n} of them",
    )
    dims["O"] = output_sizes(dims["S"], value)


def boxes(sizes: tuple[int, ...], output_size: Any) -> Iterator[tuple[tuple[int, ...], Box]]:
    """Each window: its place in the output, and what it holds of x, along the spatial axes."""
    outs = output_sizes(sizes, output_size)
    for at in product(*map(range, outs)):
        box = (
            slice(i * s // o, -(-(i + 1) * s // o)) for i, s, o in zip(at, sizes, outs, strict=True)
        )
        yield at, tuple(box)
