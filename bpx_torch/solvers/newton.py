"""Newton's method for PyTorch. Maths, options and source: bpx/solvers/newton.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.solvers.newton import BETA
from bpx_torch.solvers._descent import Descent


class Newton(Descent):
    """Damped Newton with the exact Hessian, by differentiating the closure's loss twice.

    The closure returns the loss and calls no backward; gradients are not accumulated in .grad.

    Args:
        params: parameters, in one group; n elements take n^2 numbers.
        lr: the first step that each line search tries.
        max_iter, max_eval: of one call of `step`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `bpx.solvers.Result`.
        damping: added to the diagonal of the Hessian.
        chunk_size: rows of it computed at a time, by vmap over the backward pass; 1 needs no vmap.

    Raises:
        SpecError: an option outside its limits.
    """

    NAME = "newton"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        damping: float = 0.0,
        chunk_size: int = 32,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "damping": damping,
            "chunk_size": chunk_size,
        }
        super().__init__(params, defaults)

    def _evaluate(self, closure: Any) -> tuple[Any, Tensor]:
        loss = closure()
        grads = torch.autograd.grad(loss, self._params, materialize_grads=True, allow_unused=True)
        return loss.detach(), self._flat(list(grads))

    @torch.enable_grad()
    def _hessian(self, closure: Any) -> Tensor:
        self.formed += 1
        grads = torch.autograd.grad(
            closure(), self._params, create_graph=True, materialize_grads=True, allow_unused=True
        )
        grad = self._flat(list(grads))
        return self._rows_of(grad)

    def _direction(self, closure: Any, grad: Tensor, memory: dict[str, Any]) -> Tensor | None:
        b = self._hessian(closure)
        diagonal = b.diagonal()
        diagonal.add_(self.param_groups[0]["damping"])
        if not torch.isfinite(b).all():
            return None
        beta = BETA * float(b.norm()) or 1.0
        least = float(diagonal.min())
        shift = 0.0 if least > 0 else beta - least
        while True:
            diagonal.add_(shift)
            lower, failed = torch.linalg.cholesky_ex(b)
            if not failed:
                return torch.cholesky_solve(grad.neg()[:, None], lower)[:, 0]
            diagonal.sub_(shift)
            shift = max(2 * shift, beta)
