"""The loop of the solvers that search along a direction. In NumPy: bpx/solvers/_descent.py.

The order of the checks, and which points the closure is called at, are those of
torch.optim.LBFGS.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bpx.solvers._wolfe import MOST
from bpx_torch.solvers._flat import FlatSolver, finite, largest
from bpx_torch.solvers._wolfe import Trial, search


class Descent(FlatSolver):
    """A solver of `_direction`, `_evaluate` and, where a first step is a gradient, CAUTIOUS."""

    CAUTIOUS = False
    formed = 0  # matrices, in this call of `step`

    def _evaluate(self, closure: Any) -> tuple[Any, Tensor]:
        """What the closure returns at the parameters as they are, and the gradient there."""
        loss = closure()
        return loss, self._flat([p.grad for p in self._params])

    def _loss(self, returned: Any) -> float:
        return float(returned)

    def _direction(self, closure: Any, grad: Tensor, memory: dict[str, Any]) -> Tensor | None:
        """The direction at the parameters as they are; None where a matrix is not finite."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Iterate until one of the outcomes of `bpx.solvers.Result`, which `result` then holds.

        Returns what the first call of the closure returned.
        """
        if closure is None:
            raise TypeError(f"{self.NAME}: step needs a closure that evaluates the model")
        closure = torch.enable_grad()(closure)
        group, memory = self.param_groups[0], self._memory
        for key in ("func_evals", "n_iter"):
            memory.setdefault(key, 0)
        tolerance, change = group["tolerance_grad"], group["tolerance_change"]
        max_eval = math.inf if group["max_eval"] is None else group["max_eval"]
        searched = group.get("line_search_fn", "strong_wolfe") is not None
        self.formed, evals, n = 0, 0, 0
        x = self._vector()

        def evaluate(d: Tensor, t: float) -> Trial:
            nonlocal evals
            evals += 1
            memory["func_evals"] += 1
            self._put(x.add(d, alpha=t))
            returned, grad = self._evaluate(closure)
            return Trial(t, self._loss(returned), float(grad @ d), grad)

        evals = 1
        memory["func_evals"] += 1
        first, grad = self._evaluate(closure)
        loss, why = self._loss(first), None
        if not finite(loss, grad):
            why = "non-finite"
        elif largest(grad) <= tolerance:
            why = "converged"
        while why is None and n < group["max_iter"]:
            d = self._direction(closure, grad, memory)
            memory["n_iter"] += 1
            slope = math.nan if d is None else float(grad @ d)
            if d is None or not math.isfinite(slope) or slope >= 0:
                why = "line search failed" if slope >= 0 else "non-finite"
            elif slope > -change:
                why = "small change"
            # t stays 0 until there is a step: a pair is then not learnt twice
            memory.update(d=d, t=0.0, prev_flat_grad=grad, prev_loss=loss)
            if why is not None or d is None:
                break
            n += 1
            t = float(group["lr"])
            if self.CAUTIOUS and memory["n_iter"] == 1:
                t *= min(1.0, 1 / float(grad.abs().sum()))
            before = start = Trial(0.0, loss, slope, grad)
            if searched:
                width, eps = change / largest(d), torch.finfo(d.dtype).eps
                most = min(MOST, max_eval - evals)
                found, last = search(partial(evaluate, d), start, t, width, eps, most)
            elif n == group["max_iter"]:
                # not evaluated there: the next call does it
                found = last = Trial(t, loss, slope, grad)
            else:
                last = evaluate(d, t)
                found = last if last.finite() else start
            t, loss, _, grad = found
            if found is start:
                n -= 1
                why = "line search failed" if last.finite() else "non-finite"
                if searched and evals >= max_eval:
                    why = "max evaluations"
            x, x_before = x.add(d, alpha=t), x
            self._put(x)
            memory["t"] = t
            if why is not None or n == group["max_iter"]:
                break
            if evals >= max_eval:
                why = "max evaluations"
            elif largest(grad) <= tolerance:
                why = "converged"
            elif t * largest(d) <= change or torch.equal(x, x_before):
                why = "small change"
            elif abs(loss - before.loss) < change:
                why = "small change"
        if why is None:
            why = "converged" if largest(grad) <= tolerance else "max iterations"
        self._end(loss, grad, n, evals, self.formed, why)
        return first
