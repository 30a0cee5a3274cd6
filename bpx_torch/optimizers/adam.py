"""Adam for PyTorch. Maths, options and source: bpx/optimizers/adam.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.adam import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, descend_quotient_, mix_, mix_square_, number, unbiased
from bpx_torch._weight_decay import decay_many, decay_one


class Adam(SpecOptimizer):
    """Replaces torch.optim.Adam: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU,
    tensor by tensor.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> Adam([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"m": "exp_avg", "v": "exp_avg_sq", "v_max": "max_exp_avg_sq"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    @profiled("adam", beyond=("eps_hat", "max_corrected"))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        eps_hat: bool = False,
        max_corrected: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(
            params,
            defaults,
            eps_hat=eps_hat,
            max_corrected=max_corrected,
        )

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group["amsgrad"] else [])
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        keys = ("exp_avg", "exp_avg_sq") + ("max_exp_avg_sq",) * group["amsgrad"]
        flags = ns.bits(
            group,
            (group["amsgrad"], ns.AMSGRAD),
            (group.get("max_corrected"), ns.CORRECTED),
            (group.get("eps_hat"), ns.EPS_HAT),
        )
        numbers = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        return ns.Native("step_adam", keys, flags, numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, (b1, b2) = number(group["lr"]), (number(b) for b in group["betas"])
        g = decay_one(p, g, group)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        mix_(m, g, b1)
        mix_square_(v, g, b2)
        correction, eps = _folded(group, unbiased(b2, t) ** 0.5)
        if group["amsgrad"]:
            held = state["max_exp_avg_sq"]
            v = v / unbiased(b2, t) if group.get("max_corrected") else v
            v = torch.maximum(held, v, out=None if group["differentiable"] else held)
            state["max_exp_avg_sq"] = v
        root = v.sqrt()
        root = root + eps if group["differentiable"] else root.add_(eps)
        descend_quotient_(p, m, root, lr * correction / unbiased(b1, t))

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, (b1, b2) = group["lr"], group["betas"]
        gs = decay_many(ps, gs, group)
        ms, vs = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        torch._foreach_lerp_(ms, gs, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        if group["amsgrad"]:
            largest = [s["max_exp_avg_sq"] for s in states]
            if group.get("max_corrected"):
                vs = list(torch._foreach_div(vs, [unbiased(b2, t) for t in ts]))
            torch._foreach_maximum_(largest, vs)
            vs = largest
        folded = [_folded(group, unbiased(b2, t) ** 0.5) for t in ts]
        roots = torch._foreach_sqrt(vs)
        torch._foreach_add_(roots, [eps for _, eps in folded])
        sizes = [-lr * c / unbiased(b1, t) for (c, _), t in zip(folded, ts, strict=True)]
        torch._foreach_addcdiv_(ps, ms, roots, sizes)


def _folded(group: Group, root: Any) -> tuple[Any, Any]:
    """The bias correction of v, whose root is given, and eps, to be applied as two numbers:

        m / c1 / (sqrt(v / c2) + eps) = (sqrt(c2) / c1) * m / (sqrt(v) + eps * sqrt(c2))

    which costs no pass over the elements."""
    eps = group["eps"] if group.get("eps_hat") else group["eps"] * root
    if group["amsgrad"] and group.get("max_corrected"):  # v is corrected already
        return 1.0, eps / root
    return root, eps
