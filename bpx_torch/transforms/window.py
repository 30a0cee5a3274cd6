"""When an optimizer takes a step, for PyTorch. Options and source: bpx/transforms/window.py."""

from __future__ import annotations

from typing import Any

import torch

from bpx.transforms.window import ACCUMULATION, SKIP
from bpx_torch._wrapper import Wrapper, loss_of, wide


class GradientAccumulation(Wrapper):
    """Any optimizer with one step for `every` calls of step, each with the gradients of a batch.

    step takes the gradients away (p.grad is None after it), so it does not matter whether zero_grad
    is called in between. The sum is kept in float32 at least. With GradScaler a batch whose
    gradients overflow is left out of its window.

    >>> w = torch.nn.Parameter(torch.zeros(1))
    >>> opt = GradientAccumulation(torch.optim.SGD([w], lr=1.0), every=2)
    >>> for g in (1.0, 3.0):
    ...     w.grad = torch.tensor([g])
    ...     opt.step()
    >>> w.detach()
    tensor([-2.])

    Raises:
        SpecError: every is no integer of at least 1.
    """

    SPEC = ACCUMULATION

    def __init__(
        self, optimizer: torch.optim.Optimizer, every: int = 1, *, mean: bool = True
    ) -> None:
        super().__init__(optimizer, every=every, mean=mean)
        self._counts, self._arrays = {"n": 0}, {"sum": {}}

    def step(self, closure: Any = None) -> Any:
        """Add the gradients to the window; where it is full, the optimizer's step."""
        loss, sums = loss_of(closure), self._arrays["sum"]
        with torch.no_grad():
            for p in self._with_gradient():
                if p in sums:
                    sums[p].add_(p.grad)
                else:
                    sums[p] = wide(p.grad)
                p.grad = None
        self._counts["n"] += 1
        if self._counts["n"] >= self.options["every"]:
            self.finish()
        return loss

    def finish(self) -> bool:
        """The step of a window that is not full; False where it is empty and there is none."""
        n, sums = self._counts["n"], self._arrays["sum"]
        if n == 0:
            return False
        for p, total in sums.items():
            p.grad = (total / n if self.options["mean"] else total).to(p.dtype)
        self._counts, self._arrays = {"n": 0}, {"sum": {}}
        self.optimizer.step()
        for p in sums:
            p.grad = None
        return True


class SkipNonfinite(Wrapper):
    """Any optimizer without the steps whose gradients are not all finite.

    `skipped` is the number of them in the run. A step waits for the device once.

    Raises:
        SpecError: max_consecutive is no integer of at least 0.
    """

    SPEC = SKIP

    def __init__(self, optimizer: torch.optim.Optimizer, max_consecutive: int = 5) -> None:
        super().__init__(optimizer, max_consecutive=max_consecutive)
        self._counts = {"row": 0, "total": 0}

    @property
    def skipped(self) -> int:
        return self._counts["total"]

    def step(self, closure: Any = None) -> Any:
        """The optimizer's step, where every gradient is finite or too many in a row were not."""
        loss = loss_of(closure)
        found = [torch.isfinite(p.grad).all() for p in self._with_gradient()]
        home = found[0].device if found else None
        if not found or bool(torch.stack([f.to(home) for f in found]).all()):
            self._counts["row"] = 0
            self.optimizer.step()
            return loss
        self._counts = {name: count + 1 for name, count in self._counts.items()}
        if self._counts["row"] > self.options["max_consecutive"]:
            self.optimizer.step()
        return loss
