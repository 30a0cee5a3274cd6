"""Lion for PyTorch. Maths, options and source: bpx/optimizers/lion.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.lion import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_, mix_, nonzero, number


class Lion(SpecOptimizer):
    """Lion, which torch.optim does not have, with its conventions.

    Args:
        params: parameters, named parameters, or groups of them.
        lr: the size of every step, at least 0; a number or a tensor of one element.
        betas: how much of the momentum enters the direction, and its own decay, each in [0, 1).
        weight_decay: decoupled, multiplied by lr, at least 0.
        maximize: go up instead of down.
        foreach: True and False choose the loop over lists or over tensors; None takes lists on a
            GPU.
        differentiable: let autograd see the step (the sign has derivative 0).

    Raises:
        SpecError: an option outside its limits; complex parameters.

    The state of a parameter is `exp_avg` alone, in float32 at least.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Lion([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"m": "exp_avg"}  # noqa: RUF012
    COUNTS = False
    LATER = {"maximize": False, "foreach": None, "differentiable": False}  # noqa: RUF012

    @profiled("lion")
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-4,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        return {"exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format)}

    def _native(self, group: Group) -> ns.Native:
        numbers = (group["lr"], *group["betas"], group["weight_decay"])
        return ns.Native("step_lion", ("exp_avg",), ns.bits(group), numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        b1, b2 = (number(b) for b in group["betas"])
        m = state["exp_avg"]
        direction = _sign(m * b1 + g * (1 - b1))
        if nonzero(decay):
            p.mul_(1 - lr * decay)
        descend_(p, direction, lr)
        mix_(m, g, b2)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, (b1, b2), decay = group["lr"], group["betas"], group["weight_decay"]
        ms = [s["exp_avg"] for s in states]
        directions = list(torch._foreach_mul(ms, b1))
        torch._foreach_add_(directions, gs, alpha=1 - b1)
        directions = [_sign(d) for d in directions]
        if decay != 0:
            torch._foreach_mul_(ps, 1 - lr * decay)
        torch._foreach_add_(ps, directions, alpha=-lr)
        torch._foreach_lerp_(ms, gs, 1 - b2)


def _sign(x: Tensor) -> Tensor:
    """The sign; NaN stays (torch's is 0, which would hide it)."""
    return torch.where(x.isnan(), x, x.sign())
