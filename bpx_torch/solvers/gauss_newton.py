"""Gauss-Newton for PyTorch. Maths, options and source: bpx/solvers/gauss_newton.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx_torch.solvers._descent import Descent
from bpx_torch.solvers._least_squares import LeastSquares


class GaussNewton(LeastSquares, Descent):
    """Gauss-Newton with a strong-Wolfe line search, on half the sum of squared residuals.

    The closure returns the residuals, a tensor of any shape, and calls no backward.

    Args:
        params: parameters, in one group; n elements and m residuals take m n numbers.
        lr: the first step that each line search tries.
        max_iter, max_eval: of one call of `step`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `bpx.solvers.Result`.
        chunk_size: rows of J computed at a time, by vmap over the backward pass; 1 needs no vmap.

    Raises:
        SpecError: an option outside its limits.
    """

    NAME = "gauss_newton"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        chunk_size: int = 32,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "chunk_size": chunk_size,
        }
        super().__init__(params, defaults)

    def _evaluate(self, closure: Any) -> tuple[Any, Tensor]:
        returned, r, jacobian = self._rows(closure)
        self.formed += 1
        grad = jacobian.mT.mv(r)
        self._last = grad, r, jacobian
        return returned, grad

    def _loss(self, returned: Any) -> float:
        return float(returned.double().square().sum() / 2)

    def _direction(self, closure: Any, grad: Tensor, memory: dict[str, Any]) -> Tensor | None:
        if self._last[0] is not grad:  # the search went back to an earlier trial
            self.formed += 1
            self._last = grad, *self._rows(closure)[1:]
        _, r, jacobian = self._last
        if not torch.isfinite(jacobian).all():
            return None
        # -J^+ r, with the singular values that are rounding left out
        u, sigma, vt = torch.linalg.svd(jacobian, full_matrices=False)
        small = torch.finfo(sigma.dtype).eps * max(jacobian.shape) * sigma.amax()
        inverse = torch.where(sigma > small, sigma.reciprocal(), 0.0)
        return vt.mT.mv(inverse.mul_(u.mT.mv(r))).neg_()
