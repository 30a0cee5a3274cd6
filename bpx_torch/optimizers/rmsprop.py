"""RMSprop for PyTorch. Maths, options and source: bpx/optimizers/rmsprop.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.rmsprop import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_, descend_quotient_, mix_, mix_square_, number
from bpx_torch._weight_decay import decay_many, decay_one


class RMSprop(SpecOptimizer):
    """Replaces torch.optim.RMSprop: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor;
    `centered=True` stays finite where rounding makes torch's variance negative.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> RMSprop([w], lr=0.05).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"v": "square_avg", "m": "grad_avg", "buf": "momentum_buffer"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    @profiled("rmsprop", beyond=("eps_in_sqrt", "lr_in_momentum", "decoupled_weight_decay"))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        eps_in_sqrt: bool = False,
        lr_in_momentum: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(
            params,
            defaults,
            eps_in_sqrt=eps_in_sqrt,
            lr_in_momentum=lr_in_momentum,
            decoupled_weight_decay=decoupled_weight_decay,
        )

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ["square_avg"]
        keys += ["momentum_buffer"] if group["momentum"] > 0 else []
        keys += ["grad_avg"] if group["centered"] else []
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        momentum = group["momentum"]
        mean = "grad_avg" if group["centered"] else None
        keys = ("square_avg", mean, "momentum_buffer" if momentum > 0 else None)
        flags = ns.bits(
            group,
            (group["centered"], ns.CENTERED),
            (momentum > 0, ns.MOMENTUM),
            (group.get("eps_in_sqrt"), ns.EPS_INSIDE),
            (group.get("lr_in_momentum"), ns.LR_INSIDE),
        )
        numbers = (group["lr"], group["alpha"], group["eps"], group["weight_decay"], momentum)
        return ns.Native("step_rmsprop", keys, flags, numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, alpha, momentum = number(group["lr"]), group["alpha"], group["momentum"]
        g = decay_one(p, g, group)
        variance = state["square_avg"]
        mix_square_(variance, g, alpha)
        if group["centered"]:
            mean = state["grad_avg"]
            mix_(mean, g, alpha)
            variance = variance.addcmul(mean, mean, value=-1).clamp(min=0)
        if group.get("eps_in_sqrt"):
            root = (variance + group["eps"]).sqrt()
        else:
            root = variance.sqrt()
            root = root + group["eps"] if group["differentiable"] else root.add_(group["eps"])
        if momentum > 0:
            if group.get("lr_in_momentum"):  # the buffer holds steps
                g, lr = g * -lr, -1.0
            buf = state["momentum_buffer"].mul_(momentum).addcdiv_(g, root)
            descend_(p, buf, lr)
        else:
            descend_quotient_(p, g, root, lr)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, alpha, momentum = group["lr"], group["alpha"], group["momentum"]
        gs = decay_many(ps, gs, group)
        variances = [s["square_avg"] for s in states]
        torch._foreach_mul_(variances, alpha)
        torch._foreach_addcmul_(variances, gs, gs, 1 - alpha)
        if group["centered"]:
            means = [s["grad_avg"] for s in states]
            torch._foreach_lerp_(means, gs, 1 - alpha)
            variances = list(torch._foreach_addcmul(variances, means, means, -1))
            torch._foreach_clamp_min_(variances, 0)
        if group.get("eps_in_sqrt"):
            roots = torch._foreach_add(variances, group["eps"])
            torch._foreach_sqrt_(roots)
        else:
            roots = torch._foreach_sqrt(variances)
            torch._foreach_add_(roots, group["eps"])
        if momentum > 0:
            if group.get("lr_in_momentum"):
                gs, lr = list(torch._foreach_mul(gs, -lr)), -1.0
            bufs = [s["momentum_buffer"] for s in states]
            torch._foreach_mul_(bufs, momentum)
            torch._foreach_addcdiv_(bufs, gs, roots)
            torch._foreach_add_(ps, bufs, alpha=-lr)
        else:
            torch._foreach_addcdiv_(ps, gs, roots, -lr)
