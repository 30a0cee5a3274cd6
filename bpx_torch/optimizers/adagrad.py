"""Adagrad for PyTorch. Maths, options and source: bpx/optimizers/adagrad.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adagrad import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_quotient_, number
from bpx_torch._weight_decay import decay_many, decay_one


class Adagrad(SpecOptimizer):
    """Replaces torch.optim.Adagrad: the same arguments, steps and state.

    Differs: sparse gradients and complex parameters are refused, and a group's own
    `initial_accumulator_value` is used (torch takes the constructor's for every group).

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adagrad([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"sum": "sum"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "fused": None,
    }

    @profiled("adagrad", beyond=("eps_in_sqrt", "decoupled_weight_decay"))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        eps_in_sqrt: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(
            params,
            defaults,
            eps_in_sqrt=eps_in_sqrt,
            decoupled_weight_decay=decoupled_weight_decay,
        )
        for group in self.param_groups:  # before the first step, as in torch
            self._states_of(group["params"], group)

    def share_memory(self) -> None:
        """Move the accumulated sums to shared memory."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _start(self, p: Tensor, group: Group) -> State:
        value = group["initial_accumulator_value"]
        return {"sum": torch.full_like(p, value, memory_format=torch.preserve_format)}

    def _native(self, group: Group) -> ns.Native:
        flags = ns.bits(group, (group.get("eps_in_sqrt"), ns.EPS_INSIDE))
        numbers = (group["lr"], 0.0, group["eps"], group["weight_decay"], group["lr_decay"])
        return ns.Native("step_adagrad", ("sum",), flags, numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        g = decay_one(p, g, group)
        total = state["sum"].addcmul_(g, g)
        root = _root(total, group)
        size = number(group["lr"]) / (1 + (t - 1) * group["lr_decay"])
        descend_quotient_(p, g, root, size)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        gs = decay_many(ps, gs, group)
        totals = [s["sum"] for s in states]
        torch._foreach_addcmul_(totals, gs, gs)
        if group.get("eps_in_sqrt"):
            roots = [_root(total, group) for total in totals]
        else:
            roots = list(torch._foreach_sqrt(totals))
            torch._foreach_add_(roots, group["eps"])
        sizes = [-group["lr"] / (1 + (t - 1) * group["lr_decay"]) for t in ts]
        torch._foreach_addcdiv_(ps, gs, roots, sizes)


def _root(total: Tensor, group: Group) -> Tensor:
    if not group.get("eps_in_sqrt"):
        return total.sqrt() + group["eps"]
    # an element that had no gradient yet stays where it is, even with eps = 0
    return torch.where(total > 0, (total + group["eps"]).sqrt(), math.inf)
