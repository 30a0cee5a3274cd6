"""BFGS for PyTorch. Maths, options and source: bpx/solvers/bfgs.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx_torch.solvers._descent import Descent


class BFGS(Descent):
    """BFGS with a strong-Wolfe line search, n^2 numbers of state for n parameter elements.

    Closure as for torch.optim.LBFGS: it clears the gradients, calls backward and returns the loss.

    Args:
        params: parameters, in one group.
        lr: the first step that each line search tries.
        max_iter, max_eval: of one call of `step`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `bpx.solvers.Result`.

    Raises:
        SpecError: an option outside its limits, a sparse gradient.
    """

    NAME = "bfgs"
    CAUTIOUS = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
        }
        super().__init__(params, defaults)

    def _direction(self, closure: Any, grad: Tensor, memory: dict[str, Any]) -> Tensor | None:
        if memory.get("d") is None:
            return grad.neg()
        y, s = grad.sub(memory["prev_flat_grad"]), memory["d"].mul(memory["t"])
        curvature = y.dot(s)
        inverse = memory.get("inverse")
        if curvature > torch.finfo(y.dtype).eps * y.norm() * s.norm():
            if inverse is None:
                inverse = memory["inverse"] = torch.diag(curvature / y.dot(y) * torch.ones_like(y))
            # the product multiplied out: H + (rho + rho^2 y^T H y) s s^T - rho (H y s^T + s y^T H)
            rho, hy = curvature.reciprocal(), inverse.mv(y)
            inverse.addr_(s, s.mul(rho + rho * rho * y.dot(hy)))
            inverse.addr_(hy, s.mul(-rho)).addr_(s.mul(-rho), hy)
        return grad.neg() if inverse is None else inverse.mv(grad).neg_()
