"""The checks of conv under the names of the entries that have its shapes and options."""

from __future__ import annotations

from bpx.dims import Dims
from bpx.layers import conv
from bpx.spec import Options, SpecError


def named(entry: str, dims: Dims, o: Options) -> None:
    """Raise what conv raises, as a mistake of `entry`; adds the output's sizes to dims."""
    assert conv.SPEC.check is not None
    try:
        conv.SPEC.check(dims, o)
    except SpecError as error:
        raise SpecError(f"{entry}: {str(error).removeprefix('conv: ')}") from None
