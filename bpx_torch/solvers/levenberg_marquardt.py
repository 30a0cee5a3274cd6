"""Levenberg-Marquardt for PyTorch. Maths, options and source:
bpx/solvers/levenberg_marquardt.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bpx.solvers._wolfe import NOISE
from bpx_torch.solvers._flat import finite, largest
from bpx_torch.solvers._least_squares import LeastSquares


class LevenbergMarquardt(LeastSquares):
    """Levenberg-Marquardt on half the sum of squared residuals.

    The closure returns the residuals, a tensor of any shape, and calls no backward. The damping is
    kept from one call of `step` to the next, and in the state_dict.

    Args:
        params: parameters, in one group; n elements and m residuals take (m + n) n numbers.
        max_iter, max_eval: of one call of `step`; None is no limit.
        tolerance_grad, tolerance_change: absolute, see `bpx.solvers.Result`.
        tau: the first damping, relative to the largest diagonal element of J^T J.
        chunk_size: rows of J computed at a time, by vmap over the backward pass; 1 needs no vmap.

    Raises:
        SpecError: an option outside its limits.
    """

    NAME = "levenberg_marquardt"

    def __init__(
        self,
        params: Any,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        tau: float = 1e-3,
        chunk_size: int = 32,
    ) -> None:
        defaults = {
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "tau": tau,
            "chunk_size": chunk_size,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Iterate until one of the outcomes of `bpx.solvers.Result`, which `result` then holds.

        Returns the residuals of the first call of the closure.
        """
        if closure is None:
            raise TypeError(f"{self.NAME}: step needs a closure that returns the residuals")
        group, memory = self.param_groups[0], self._memory
        tolerance, change = group["tolerance_grad"], group["tolerance_change"]
        max_eval = math.inf if group["max_eval"] is None else group["max_eval"]
        evals, n, why = 1, 0, None
        x = self._vector()
        noise = torch.finfo(x.dtype).eps ** NOISE
        first, r, jacobian = self._rows(closure)
        f, grad = _value(r), jacobian.mT.mv(r)
        if not (finite(f, grad) and torch.isfinite(jacobian).all()):
            why = "non-finite"
        elif largest(grad) <= tolerance:
            why = "converged"
        elif "mu" not in memory:
            # the diagonal of J^T J is the squared norms of J's columns
            memory.update(mu=group["tau"] * float(jacobian.square().sum(0).amax()), nu=2.0)
        while why is None and n < group["max_iter"]:
            h = _damped(jacobian, r, math.sqrt(memory["mu"]))
            if largest(h) <= change or torch.equal(x + h, x):
                why = "line search failed" if memory["nu"] > 2 else "small change"
                break
            if evals >= max_eval:
                why = "max evaluations"
                break
            n, evals = n + 1, evals + 1
            self._put(x + h)
            _, r_new, j_new = self._rows(closure)
            f_new, grad_new = _value(r_new), j_new.mT.mv(r_new)
            good = finite(f_new, grad_new) and bool(torch.isfinite(j_new).all())
            gain = 0.0
            if good:
                fall = f - f_new
                if abs(fall) <= noise * max(f, f_new):
                    fall = -0.5 * float(h @ (grad + grad_new))
                # L(0) - L(h), with (J^T J + mu I) h = -g used once
                gain = fall / (0.5 * (memory["mu"] * float(h @ h) - float(h @ grad)))
            if gain > 0:
                x.add_(h)
                f, grad, r, jacobian = f_new, grad_new, r_new, j_new
                memory["mu"] *= max(1 / 3, 1 - (2 * gain - 1) ** 3)
                memory["nu"] = 2.0
                if largest(grad) <= tolerance:
                    why = "converged"
            else:
                memory["mu"] *= memory["nu"]
                memory["nu"] *= 2
        self._put(x)
        self._end(f, grad, n, evals, evals, why or "max iterations")
        return first


def _value(r: Tensor) -> float:
    return float(r.dot(r)) / 2


def _damped(jacobian: Tensor, r: Tensor, root: float) -> Tensor:
    """The h that minimises |J h + r|^2 + root^2 |h|^2, by the QR factors of the two stacked."""
    n = jacobian.shape[1]
    eye = torch.eye(n, dtype=jacobian.dtype, device=jacobian.device)
    q, upper = torch.linalg.qr(torch.cat([jacobian, root * eye]))
    right = q[: len(r)].mT.mv(r).neg_()
    return torch.linalg.solve_triangular(upper, right[:, None], upper=True)[:, 0]
