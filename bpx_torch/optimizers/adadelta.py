"""Adadelta for PyTorch. Maths, options and source: bpx/optimizers/adadelta.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adadelta import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, add_scaled, descend_, mix_square_, nonzero, number


class Adadelta(SpecOptimizer):
    """Replaces torch.optim.Adadelta: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adadelta([w], rho=0.75, eps=1.0).step()
    >>> w.detach()
    tensor([0.5149, 2.8944])
    """

    SPEC = SPEC
    STATE = {"v": "square_avg", "u": "acc_delta"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    @profiled("adadelta")
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ("square_avg", "acc_delta")
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        numbers = (group["lr"], group["rho"], group["eps"], group["weight_decay"])
        return ns.Native("step_adadelta", ("square_avg", "acc_delta"), ns.bits(group), numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        rho, eps, decay = group["rho"], group["eps"], number(group["weight_decay"])
        if nonzero(decay):
            g = add_scaled(g, p, decay)
        mix_square_(state["square_avg"], g, rho)
        # sqrt(u + eps) / sqrt(v + eps) as one root
        ratio = (state["acc_delta"] + eps).div_(state["square_avg"] + eps)
        d = ratio.sqrt() * g
        mix_square_(state["acc_delta"], d, rho)
        descend_(p, d, number(group["lr"]))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        rho, eps = group["rho"], group["eps"]
        if group["weight_decay"] != 0:
            gs = list(torch._foreach_add(gs, ps, alpha=group["weight_decay"]))
        vs, us = [s["square_avg"] for s in states], [s["acc_delta"] for s in states]
        torch._foreach_mul_(vs, rho)
        torch._foreach_addcmul_(vs, gs, gs, 1 - rho)
        steps = torch._foreach_add(us, eps)
        torch._foreach_div_(steps, torch._foreach_add(vs, eps))
        torch._foreach_sqrt_(steps)
        torch._foreach_mul_(steps, gs)
        torch._foreach_mul_(us, rho)
        torch._foreach_addcmul_(us, steps, steps, 1 - rho)
        torch._foreach_add_(ps, steps, alpha=-group["lr"])
