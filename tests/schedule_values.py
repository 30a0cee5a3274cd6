"""Values of a schedule in JAX, and how far two may be apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp

EPS = float(jnp.finfo(jnp.float64).eps)
COUNTS = np.arange(200, dtype=np.int32)


def values(schedule: Any, counts: Any = COUNTS) -> Any:
    counts = counts if counts.dtype == np.int64 else jnp.asarray(counts, jnp.int32)
    return np.asarray(jax.vmap(schedule)(counts))


def assert_close(got: Any, want: Any, eps: float = EPS, steps: int = 1) -> None:
    """A power rounds as often as its exponent says, a phase as its angle says: each is bounded by
    the steps. In units of the largest value, since a cosine or a line ends near 0."""
    limit = eps * (32 + steps) * max(1e-300, float(np.max(np.abs(want))))
    assert np.max(np.abs(got - np.asarray(want))) <= limit
