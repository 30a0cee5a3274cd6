"""Penalties on the weights for PyTorch. Maths, options and source: bpx/transforms/penalty.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bpx.transforms.penalty import DECAY, L1, L2
from bpx_torch._wrapper import Wrapper, loss_of

Tensors = Tensor | Iterable[Tensor]


def _with_gradient(parameters: Tensors) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p for p in listed if p.grad is not None]


def _add_(g: Tensor, x: Tensor, scale: float) -> None:
    """g <- g + scale * x, rounded once."""
    if g.dtype.itemsize < 4:
        g.copy_(g.float().add_(x.float(), alpha=scale))
    else:
        g.add_(x, alpha=scale)


@torch.no_grad()
def l1_penalty_(parameters: Tensors, scale: float) -> None:
    """Add the gradient of scale * sum |p| to the gradients, those that are there.

    Raises:
        SpecError: scale is below 0 or not finite.
    """
    if L1.check is not None:
        L1.check({"scale": scale})
    for p in _with_gradient(parameters):
        _add_(p.grad, p.sign(), scale)


@torch.no_grad()
def l2_penalty_(parameters: Tensors, scale: float) -> None:
    """Add the gradient of scale / 2 * sum p^2 to the gradients, those that are there.

    Raises:
        SpecError: scale is below 0 or not finite.
    """
    if L2.check is not None:
        L2.check({"scale": scale})
    for p in _with_gradient(parameters):
        _add_(p.grad, p, scale)


class DecoupledDecay(Wrapper):
    """Any optimizer with a decoupled weight decay, of each group's lr times weight_decay.

    Parameters without a gradient stay as they are. A closure is called before the decay.

    Raises:
        SpecError: weight_decay is below 0 or not finite.
    """

    SPEC = DECAY

    def __init__(self, optimizer: torch.optim.Optimizer, weight_decay: float = 1e-2) -> None:
        super().__init__(optimizer, weight_decay=weight_decay)

    def step(self, closure: Any = None) -> Any:
        """Decay, then the optimizer's step."""
        loss = loss_of(closure)
        with torch.no_grad():
            for group in self.param_groups:
                keep = 1 - group["lr"] * self.options["weight_decay"]
                for p in group["params"]:
                    if p.grad is not None:
                        p.mul_(keep)
        self.optimizer.step()
        return loss
