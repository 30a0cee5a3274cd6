"""Norms of whole tensors, and the layer-wise ratio that LARS and LAMB share."""

from __future__ import annotations

import torch
from torch import Tensor


def norm(x: Tensor) -> Tensor:
    """The Euclidean norm of all elements, in float32 at least; a scalar, not read on the host."""
    return torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float32))


def norms(xs: list[Tensor]) -> list[Tensor]:
    """`norm` of each."""
    return list(torch._foreach_norm(xs, 2, dtype=torch.promote_types(xs[0].dtype, torch.float32)))


def total_norm(xs: list[Tensor]) -> Tensor:
    """The norm of all the elements of all tensors together, on the first one's device."""
    parts = [norm(x) for x in xs]
    return norm(torch.stack([x.to(parts[0].device) for x in parts]))


def trust(size: Tensor, below: Tensor, coefficient: float = 1.0, eps: float = 0.0) -> Tensor:
    """coefficient * size / (below + eps), and 1 where size or below is 0."""
    safe = (size > 0) & (below > 0)
    # the quotient that is thrown away must be finite, or its gradient would be 0 * inf
    ratio = coefficient * size / torch.where(safe, below + eps, 1.0)
    return torch.where(safe, ratio, 1.0)
