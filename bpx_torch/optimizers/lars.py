"""LARS for PyTorch. Maths, options and source: bpx/optimizers/lars.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.lars import SPEC
from bpx.profiles import profiled
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, add_scaled, nonzero, number
from bpx_torch.optimizers._trust import norm, norms, trust


class LARS(SpecOptimizer):
    """SGD with steps scaled to the norm of each tensor; torch.optim has none.

    Args:
        params: tensors, named tensors, or groups of them.
        lr: the step, times the ratio of the norms.
        momentum: decay of the velocity; 0 keeps none.
        weight_decay: added to the gradient before it is scaled.
        trust_coefficient: the ratio of the norms of step and tensor at lr 1.
        eps: added to the norm under the ratio.
        nesterov: look one step ahead along the velocity.
        norm_of_sum: take the norm of gradient plus decay, not the sum of the norms.
        lr_in_momentum: the velocity holds steps already multiplied by -lr.
        foreach, maximize, differentiable: as in torch.optim.SGD.

    The velocity of a 16-bit parameter is float32.

    Raises:
        SpecError: an option outside its limits.

    >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> w.grad = torch.tensor([0.6, -0.8])
    >>> LARS([w], trust_coefficient=0.1, weight_decay=0).step()
    >>> w.detach()
    tensor([2.7000, 4.4000])
    """

    SPEC = SPEC
    STATE = {"buf": "momentum_buffer"}  # noqa: RUF012
    COUNTS = False

    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
    }

    @profiled("lars")
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        momentum: float = 0.9,
        weight_decay: float | Tensor = 5e-4,
        trust_coefficient: float = 1e-3,
        eps: float = 0.0,
        nesterov: bool = False,
        *,
        norm_of_sum: bool = False,
        lr_in_momentum: bool = True,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "eps": eps,
            "nesterov": nesterov,
            "norm_of_sum": norm_of_sum,
            "lr_in_momentum": lr_in_momentum,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _start(self, p: Tensor, group: Group) -> State:
        if group["momentum"] == 0:
            return {}
        return {"momentum_buffer": torch.zeros_like(p, memory_format=torch.preserve_format)}

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay, momentum = number(group["lr"]), number(group["weight_decay"]), group["momentum"]
        w = p.clone() if group["differentiable"] else p  # its norm's graph must keep the old p
        d = add_scaled(g, w, decay) if nonzero(decay) else g
        size = norm(w)
        below = norm(d) if group["norm_of_sum"] else norm(g) + decay * size
        factor = trust(size, below, group["trust_coefficient"], group["eps"])
        inside, outside = (-lr, 1.0) if group["lr_in_momentum"] else (1.0, -lr)
        d = d * (factor * inside)
        if momentum != 0:
            buf = state["momentum_buffer"].mul_(momentum).add_(d)
            d = d.add(buf, alpha=momentum) if group["nesterov"] else buf
        p.add_(d * outside)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, decay, momentum = group["lr"], group["weight_decay"], group["momentum"]
        ds = torch._foreach_add(gs, ps, alpha=decay)
        sizes = torch.stack(norms(ps))
        belows = torch.stack(norms(ds if group["norm_of_sum"] else gs))
        if not group["norm_of_sum"]:
            belows = belows + decay * sizes
        factors = trust(sizes, belows, group["trust_coefficient"], group["eps"])
        inside, outside = (-lr, 1.0) if group["lr_in_momentum"] else (1.0, -lr)
        torch._foreach_mul_(ds, list((inside * factors).unbind()))
        if momentum != 0:
            bufs = [s["momentum_buffer"] for s in states]
            torch._foreach_mul_(bufs, momentum)
            torch._foreach_add_(bufs, ds)
            ds = torch._foreach_add(ds, bufs, alpha=momentum) if group["nesterov"] else bufs
        torch._foreach_add_(ps, ds, alpha=outside)
