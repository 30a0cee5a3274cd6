"""SGD for PyTorch. Maths, options and source: bpx/optimizers/sgd.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.sgd import SPEC
from bpx_torch._optimizer import (
    Group,
    Number,
    SpecOptimizer,
    State,
    add_scaled,
    descend_,
    nonzero,
    number,
)


class SGD(SpecOptimizer):
    """Replaces torch.optim.SGD: the same arguments, steps and state.

    Differs: `fused=True`, sparse gradients and complex parameters are refused, and with
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
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        return {}  # the buffer starts as the first gradient

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        momentum, decay = group["momentum"], number(group["weight_decay"])
        if nonzero(decay):
            g = add_scaled(g, p, decay)
        if momentum != 0:
            buf = state.get("momentum_buffer")
            if buf is None:
                buf = state["momentum_buffer"] = g.clone()
            else:
                buf.mul_(momentum).add_(g, alpha=1 - group["dampening"])
            g = g.add(buf, alpha=momentum) if group["nesterov"] else buf
        descend_(p, g, number(group["lr"]))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        momentum, decay = group["momentum"], group["weight_decay"]
        if decay != 0:
            gs = list(torch._foreach_add(gs, ps, alpha=decay))
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
        torch._foreach_add_(ps, gs, alpha=-group["lr"])
