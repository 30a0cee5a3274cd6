"""Where a derivative jumps, torch and jax may choose differently. No profile changes what bpx
takes: these are facts to know when a run is compared with another library's, and a test measures
each."""

from __future__ import annotations

from typing import NamedTuple


class Kink(NamedTuple):
    """The derivative of an entry's function at a point, as a number for bpx, torch and jax."""

    entry: str
    at: float
    bpx: float
    torch: float
    jax: float


KINKS = (
    Kink("relu", 0.0, 0.0, 0.0, 0.0),
    Kink("relu6", 6.0, 0.0, 0.0, 0.0),
    Kink("leaky_relu", 0.0, 0.01, 0.01, 1.0),
    Kink("hardtanh", -1.0, 0.0, 0.0, 1.0),
    Kink("hardtanh", 1.0, 0.0, 0.0, 1.0),
    Kink("hardsigmoid", 3.0, 0.0, 0.0, 0.0),
    Kink("elu", 0.0, 1.0, 1.0, 1.0),
    Kink("l1", 0.0, 0.0, 0.0, 1.0),
)
