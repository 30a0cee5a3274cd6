"""Elementwise activations. ALL lists their entries."""

from bpx.activations import (
    exponential,
    gated,
    piecewise,
    scalar,
    shrinkage,
    smooth,
    sparse,
)
from bpx.spec import Op

ALL: tuple[Op, ...] = (
    *scalar.ALL,
    *smooth.ALL,
    *exponential.ALL,
    *piecewise.ALL,
    *gated.ALL,
    *shrinkage.ALL,
    *sparse.ALL,
)
