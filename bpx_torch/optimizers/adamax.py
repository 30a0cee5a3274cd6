"""Adamax for PyTorch. Maths, options and source: bpx/optimizers/adamax.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adamax import SPEC
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import (
    Number,
    add_scaled,
    descend_quotient_,
    mix_,
    nonzero,
    number,
    unbiased,
)


class Adamax(SpecOptimizer):
    """Replaces torch.optim.Adamax: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adamax([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"m": "exp_avg", "u": "exp_inf"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ("exp_avg", "exp_inf")
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        b1, b2 = group["betas"]
        numbers = (group["lr"], b1, group["eps"], group["weight_decay"], b2)
        return ns.Native("step_adamax", ("exp_avg", "exp_inf"), ns.bits(group), numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        b1, b2 = (number(b) for b in group["betas"])
        decay = number(group["weight_decay"])
        if nonzero(decay):
            g = add_scaled(g, p, decay)
        m, largest = state["exp_avg"], state["exp_inf"].mul_(b2)
        mix_(m, g, b1)
        out = None if group["differentiable"] else largest
        largest = torch.maximum(largest, g.abs() + group["eps"], out=out)
        state["exp_inf"] = largest
        descend_quotient_(p, m, largest, number(group["lr"]) / unbiased(b1, t))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        b1, b2 = group["betas"]
        if group["weight_decay"] != 0:
            gs = list(torch._foreach_add(gs, ps, alpha=group["weight_decay"]))
        ms, largest = [s["exp_avg"] for s in states], [s["exp_inf"] for s in states]
        torch._foreach_lerp_(ms, gs, 1 - b1)
        sizes = torch._foreach_abs(gs)
        torch._foreach_add_(sizes, group["eps"])
        torch._foreach_mul_(largest, b2)
        torch._foreach_maximum_(largest, sizes)
        rates = [-group["lr"] / unbiased(b1, t) for t in ts]
        torch._foreach_addcdiv_(ps, ms, largest, rates)
