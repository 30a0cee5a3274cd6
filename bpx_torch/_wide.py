"""16-bit parameters are computed with, and accumulated for, in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# floating dtypes of fewer digits than float32; a set, because every step asks for every parameter
HALVES = frozenset(
    d
    for d in vars(torch).values()
    if isinstance(d, torch.dtype) and d.is_floating_point and d.itemsize < 4
)


def wide(x: Tensor) -> Tensor:
    """x in float32 at least, for arithmetic and accumulators; x itself where it is that already."""
    return x.float() if x.dtype in HALVES else x


def widen_state(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Put the saved state of 16-bit parameters in place in float32; torch's loading has cast it."""
    places = [i for group in saved["param_groups"] for i in group["params"]]
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for place, p in zip(places, params, strict=True):
        for key, value in saved["state"].get(place, {}).items():
            if key != "step" and isinstance(value, Tensor) and value.is_floating_point():
                if p.dtype in HALVES:
                    optimizer.state[p][key] = value.to(dtype=torch.float32, device=p.device)
