"""What the recurrent layers share: the sigmoid of their gates, the ends of sequences, and sizes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bpx.dims import Dims
from bpx.spec import require


def sigmoid(a: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-a))


def before(h0: Any, states: Any) -> Any:
    """The state each step starts from: h0, then all states but the last."""
    return [h0, *states[:-1]]


def running(lengths: Any, t: int) -> Any:
    """Which sequences have a step t, beside (B H)."""
    return True if lengths is None else (t < np.asarray(lengths, np.int64))[:, None]


def step_count(entry: str, dims: Dims) -> None:
    """Raise for a sequence without steps, which has no last state; lengths lie below L."""
    require(dims["T"] > 0, f"{entry}: x has {dims['T']} steps, expected at least 1")
    dims["L"] = dims["T"] + 1


def gate_rows(entry: str, dims: Dims, gates: int) -> None:
    """Raise unless the weights have one row for each unit of each gate."""
    rows, units = dims["G"], dims["H"]
    require(
        rows == gates * units,
        f"{entry}: w_ih has {rows} rows, expected {gates * units}, {gates} gates of {units} units",
    )
