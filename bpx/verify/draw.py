"""Inputs that can hurt: generic values, never ones or zeros, reproducible by name."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np


class Draw:
    """Draws for the cases of one entry. Equal names and seeds give equal arrays everywhere."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self._rng = np.random.default_rng([seed, zlib.crc32(name.encode())])

    def __call__(self, *shape: int) -> Any:
        """Standard normal float64, of this shape."""
        return np.asarray(self._rng.standard_normal(shape))

    def uniform(self, *shape: int) -> Any:
        """Uniform float64 in (0.02, 0.98): away from the ends, where logarithms have poles."""
        return np.asarray(self._rng.uniform(0.02, 0.98, shape))

    def index(self, high: int, *shape: int) -> Any:
        """Uniform int64 in 0 <= i < high."""
        return np.asarray(self._rng.integers(0, high, shape))
