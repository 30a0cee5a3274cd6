"""SGD for PyTorch. Maths, options and source: bpx/optimizers/sgd.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.sgd import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_, number
from bpx_torch._weight_decay import decay_many, decay_one


class SGD(SpecOptimizer):
    """Replaces torch.optim.SGD: the same arguments, steps and state.

    Differs: sparse gradients and complex parameters are refused, and with
    `differentiable=True` the gradient also flows through the first momentum buffer.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> SGD([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.7500, 2.5000])
    """

    SPEC = SPEC
    STATE = {"buf": "momentum_buffer"}  # noqa: RUF012
    COUNTS = False
    LATER = {  # noqa: RUF012
        "nesterov": False,
        "maximize": False,
        "foreach": None,
        "differentiable": False,
        "fused": None,
    }

    @profiled("sgd", beyond=("decoupled_weight_decay", "lr_in_momentum"))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        lr_in_momentum: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(
            params,
            defaults,
            decoupled_weight_decay=decoupled_weight_decay,
            lr_in_momentum=lr_in_momentum,
        )

    def _keeps(self, group: Group) -> bool:
        return bool(group["momentum"] != 0)

    def _start(self, p: Tensor, group: Group) -> State:
        return {}  # the buffer starts as the first gradient

    def _begun(self, states: list[State], group: Group) -> bool:
        keeps = self._keeps(group)
        return not keeps or all(s.get("momentum_buffer") is not None for s in states)

    def _native(self, group: Group) -> ns.Native:
        momentum = group["momentum"]
        flags = ns.bits(
            group,
            (momentum != 0, ns.MOMENTUM),
            (group["nesterov"], ns.NESTEROV),
            (group.get("lr_in_momentum"), ns.LR_INSIDE),
        )
        numbers = (group["lr"], momentum, 1 - group["dampening"], group["weight_decay"])
        return ns.Native("step_sgd", ("momentum_buffer",) * (momentum != 0), flags, numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        momentum, lr = group["momentum"], number(group["lr"])
        g = decay_one(p, g, group)
        if momentum != 0 and group.get("lr_in_momentum"):  # the buffer holds steps
            g, lr = g * -lr, -1.0
        if momentum != 0:
            buf = state.get("momentum_buffer")
            if buf is None:
                buf = state["momentum_buffer"] = g.clone()
            else:
                buf.mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g.add(buf, alpha=momentum) if group["nesterov"] else buf
        descend_(p, g, lr)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        momentum, lr = group["momentum"], group["lr"]
        gs = decay_many(ps, gs, group)
        if momentum != 0 and group.get("lr_in_momentum"):
            gs, lr = list(torch._foreach_mul(gs, -lr)), -1.0
        if momentum != 0:
            held = [i for i, s in enumerate(states) if s.get("momentum_buffer") is not None]
            if held:
                old = [states[i]["momentum_buffer"] for i in held]
                torch._foreach_mul_(old, momentum)
                torch._foreach_add_(old, [gs[i] for i in held], alpha=1 - group["dampening"])
            for state, g in zip(states, gs, strict=True):
                if state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = g.clone()
            bufs = [s["momentum_buffer"] for s in states]
            gs = list(torch._foreach_add(gs, bufs, alpha=momentum)) if group["nesterov"] else bufs
        torch._foreach_add_(ps, gs, alpha=-lr)
