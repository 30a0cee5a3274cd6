"""16-bit parameters are computed with, and accumulated for, in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """x in float32 at least, for arithmetic and accumulators of 16-bit parameters."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def wide_zeros(p: Tensor) -> Tensor:
    """Zeros shaped and laid out as p, in float32 at least."""
    dtype = torch.promote_types(p.dtype, torch.float32)
    return torch.zeros_like(p, dtype=dtype, memory_format=torch.preserve_format)
