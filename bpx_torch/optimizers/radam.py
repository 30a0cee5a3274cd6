"""RAdam for PyTorch. Maths, options and source: bpx/optimizers/radam.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.radam import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import (
    Number,
    add_scaled,
    descend_,
    descend_quotient_,
    mix_,
    mix_square_,
    nonzero,
    number,
    unbiased,
)


class RAdam(SpecOptimizer):
    """Replaces torch.optim.RAdam: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor,
    and has rho in float64 (torch's float32 is off by 1e-2 in the steps about the threshold).

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> RAdam([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.7500, 2.5000])
    """

    SPEC = SPEC
    STATE = {"m": "exp_avg", "v": "exp_avg_sq"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    @profiled("radam", beyond=("eps_corrected", "inclusive"))
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        eps_corrected: bool = False,
        inclusive: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults, eps_corrected=eps_corrected, inclusive=inclusive)

    def _start(self, p: Tensor, group: Group) -> State:
        keys = ("exp_avg", "exp_avg_sq")
        return {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in keys}

    def _native(self, group: Group) -> ns.Native:
        numbers = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        numbers += (bool(group.get("eps_corrected")), bool(group.get("inclusive")))
        return ns.Native("step_radam", ("exp_avg", "exp_avg_sq"), ns.bits(group), numbers)

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        lr, decay = number(group["lr"]), number(group["weight_decay"])
        b1, b2 = (number(b) for b in group["betas"])
        if nonzero(decay):
            if group["decoupled_weight_decay"]:
                p.mul_(1 - lr * decay)
            else:
                g = add_scaled(g, p, decay)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        mix_(m, g, b1)
        mix_square_(v, g, b2)
        size = lr / unbiased(b1, t)
        rho, factor = rectified(b2, t)
        eps = _eps(group, b2, t)
        if isinstance(rho, Tensor):
            root = v.sqrt() + eps
            descend_(p, torch.where(_far(group, rho), m * factor / root, m), size)
        elif _far(group, rho):
            root = v.sqrt()
            root = root + eps if group["differentiable"] else root.add_(eps)
            descend_quotient_(p, m, root, size * factor)
        else:
            descend_(p, m, size)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        lr, (b1, b2), decay = group["lr"], group["betas"], group["weight_decay"]
        if decay != 0:
            if group["decoupled_weight_decay"]:
                torch._foreach_mul_(ps, 1 - lr * decay)
            else:
                gs = list(torch._foreach_add(gs, ps, alpha=decay))
        ms, vs = [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]
        torch._foreach_lerp_(ms, gs, 1 - b1)
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        early: list[int] = []
        late: list[int] = []
        sizes: list[float] = []
        for i, t in enumerate(ts):
            rho, factor = rectified(b2, t)
            far = _far(group, rho)
            (late if far else early).append(i)
            sizes.append(-lr / unbiased(b1, t) * (factor if far else 1.0))
        if early:
            steps = torch._foreach_mul([ms[i] for i in early], [sizes[i] for i in early])
            torch._foreach_add_([ps[i] for i in early], steps)
        if late:
            roots = torch._foreach_sqrt([vs[i] for i in late])
            torch._foreach_add_(roots, [_eps(group, b2, ts[i]) for i in late])
            moved, means = [ps[i] for i in late], [ms[i] for i in late]
            torch._foreach_addcdiv_(moved, means, roots, [sizes[i] for i in late])


def _far(group: Group, rho: Any) -> Any:
    """Whether rho is beyond the threshold."""
    return rho >= 5 if group.get("inclusive") else rho > 5


def _eps(group: Group, b2: Number, t: Number) -> Any:
    """eps beside the root of v; one that is meant beside the corrected root is as much smaller."""
    return group["eps"] * (unbiased(b2, t) ** 0.5 if group.get("eps_corrected") else 1.0)


def rectified(b2: Number, t: Number) -> tuple[Any, Any]:
    """rho, and r * sqrt(1 - b2^t) where rho is above 4 (nothing to use elsewhere)."""
    top, c = 2 / (1 - b2) - 1, unbiased(b2, t)
    rho = top - 2 * t * b2**t / c
    if not isinstance(rho, Tensor) and rho <= 4:
        return rho, 0.0
    over = rho.clamp(min=4) if isinstance(rho, Tensor) else rho  # no root of a negative number
    square = (over - 4) * (over - 2) * top / ((top - 4) * (top - 2) * over)
    return rho, (square * c) ** 0.5
