"""L-BFGS for PyTorch. Maths, options and source: bpx/solvers/lbfgs.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx_torch.solvers._descent import Descent


class LBFGS(Descent):
    """Replaces torch.optim.LBFGS: the same arguments (`maximize` is torch's from 2.14 on), closure,
    steps and state.

    Differs: `result` says how a step ended (unsearched, the last point of a call is not evaluated,
    as in torch: `result.value` and `result.gradient` are of the one before it). A pair is left out
    where its curvature is rounding (torch: where y^T s <= 1e-10), and values that agree to rounding
    are compared by their slopes, so that it reaches the precision of its dtype (with
    tolerance_change=0). A trial that is not finite is backed off from, parameters end at a finite
    point. Sparse gradients and complex parameters are refused; lr=0 too.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))
    >>> optimizer = LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (w * w * torch.tensor([1.0, 10.0])).sum()
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure).item(), bool(w.detach().abs().max() < 1e-6)
    (19.0, True)
    """

    NAME = "lbfgs"
    CAUTIOUS = True

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
            "maximize": maximize,
        }
        super().__init__(params, defaults)
        if max_eval is None:
            most = max(1, max_iter * 5 // 4)
            self.defaults["max_eval"] = self.param_groups[0]["max_eval"] = most

    @property
    def _maximize(self) -> bool:
        return bool(self.param_groups[0].get("maximize"))  # not saved by torch before 2.14

    def _evaluate(self, closure: Any) -> tuple[Any, Tensor]:
        loss, grad = super()._evaluate(closure)
        return loss, grad.neg() if self._maximize else grad

    def _loss(self, returned: Any) -> float:
        return -float(returned) if self._maximize else float(returned)

    def _end(self, loss: float, *rest: Any) -> None:
        super()._end(-loss if self._maximize else loss, *rest)

    def _direction(self, closure: Any, grad: Tensor, memory: dict[str, Any]) -> Tensor | None:
        if memory.get("d") is None:
            memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return grad.neg()
        ys, ss, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = grad.sub(memory["prev_flat_grad"]), memory["d"].mul(memory["t"])
        curvature = y.dot(s)
        if curvature > torch.finfo(y.dtype).eps * y.norm() * s.norm():
            for kept, new in ((ys, y), (ss, s), (ro, curvature.reciprocal())):
                kept.append(new)
                del kept[: -self.param_groups[0]["history_size"]]
            memory["H_diag"] = curvature / y.dot(y)
        # one buffer goes down the history and up again
        d = grad.neg()
        weights = []
        for y, s, r in zip(reversed(ys), reversed(ss), reversed(ro), strict=True):
            weights.append(r * s.dot(d))
            d.sub_(y * weights[-1])
        d.mul_(memory["H_diag"])
        for y, s, r in zip(ys, ss, ro, strict=True):
            d.add_(s * (weights.pop() - r * y.dot(d)))
        return d
