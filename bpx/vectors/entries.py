"""Every entry that has vectors, and the vectors of one."""

from __future__ import annotations

from bpx import ALL, INITIALIZERS, OPTIMIZERS
from bpx.spec import Initializer, Op, Optimizer
from bpx.vectors.build import Vectors, build
from bpx.vectors.training import build_initializer, build_optimizer

Entry = Op | Optimizer | Initializer

ENTRIES: tuple[Entry, ...] = (*ALL, *OPTIMIZERS, *INITIALIZERS)


def vectors_of(entry: Entry) -> Vectors:
    """The vectors of one entry, of whichever kind."""
    if isinstance(entry, Optimizer):
        return build_optimizer(entry)
    if isinstance(entry, Initializer):
        return build_initializer(entry)
    return build(entry)
