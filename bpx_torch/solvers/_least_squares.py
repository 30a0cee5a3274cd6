"""Residuals, their Jacobian and their half sum of squares, from a closure, for PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx_torch.solvers._flat import FlatSolver


class LeastSquares(FlatSolver):
    """The closure returns residuals of any shape and calls no backward."""

    @torch.enable_grad()
    def _rows(self, closure: Any) -> tuple[Any, Tensor, Tensor]:
        """What the closure returned, its residuals (m) and their Jacobian (m n)."""
        returned = closure()
        r = returned.reshape(-1)
        jacobian = self._rows_of(r)
        return returned.detach(), r.detach().to(jacobian), jacobian
