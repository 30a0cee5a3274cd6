"""Adamax for PyTorch. Maths, options and source: bpx/optimizers/adamax.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adamax import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import (
    Number,
    descend_quotient_,
    mix_,
    number,
    unbiased,
)
from bpx_torch._weight_decay import decay_many, decay_one


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

    @profiled("adamax", beyond=("decoupled_weight_decay", "eps_outside"))
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
        decoupled_weight_decay: bool = False,
        eps_outside: bool = False,
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
        super().__init__(
            params,
            defaults,
            decoupled_weight_decay=decoupled_weight_decay,
            eps_outside=eps_outside,
        )

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ("exp_avg", "exp_inf")
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        b1, b2 = group["betas"]
        numbers = (group["lr"], b1, group["eps"], group["weight_decay"], b2)
        flags = ns.bits(group, (group.get("eps_outside"), ns.EPS_OUTSIDE))
        return ns.Native("step_adamax", ("exp_avg", "exp_inf"), flags, numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        b1, b2 = (number(b) for b in group["betas"])
        inside, outside = _eps(group)
        g = decay_one(p, g, group)
        m, largest = state["exp_avg"], state["exp_inf"].mul_(b2)
        mix_(m, g, b1)
        out = None if group["differentiable"] else largest
        largest = torch.maximum(largest, g.abs() + inside, out=out)
        state["exp_inf"] = largest
        largest = largest + outside if outside != 0 else largest
        descend_quotient_(p, m, largest, number(group["lr"]) / unbiased(b1, t))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        b1, b2 = group["betas"]
        inside, outside = _eps(group)
        gs = decay_many(ps, gs, group)
        ms, largest = [s["exp_avg"] for s in states], [s["exp_inf"] for s in states]
        torch._foreach_lerp_(ms, gs, 1 - b1)
        sizes = torch._foreach_abs(gs)
        torch._foreach_add_(sizes, inside)
        torch._foreach_mul_(largest, b2)
        torch._foreach_maximum_(largest, sizes)
        largest = list(torch._foreach_add(largest, outside)) if outside != 0 else largest
        rates = [-group["lr"] / unbiased(b1, t) for t in ts]
        torch._foreach_addcdiv_(ps, ms, largest, rates)


def _eps(group: Group) -> tuple[float, float]:
    """What is added to |g| inside of the maximum, and to the maximum."""
    return (0.0, group["eps"]) if group.get("eps_outside") else (group["eps"], 0.0)
