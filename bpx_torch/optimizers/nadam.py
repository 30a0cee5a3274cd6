"""NAdam for PyTorch. Maths, options and source: bpx/optimizers/nadam.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.nadam import SPEC
from bpx.profiles import profiled
from bpx_torch import _native_step as ns
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import (
    Number,
    add_scaled,
    descend_quotient_,
    mix_,
    mix_square_,
    nonzero,
    number,
    unbiased,
)


class NAdam(SpecOptimizer):
    """Replaces torch.optim.NAdam: the same arguments, steps and state.

    Differs: complex parameters are refused; `capturable=True` also runs on a CPU, tensor by tensor;
    `mu_product` of a float64 parameter is float64 (torch keeps it in the default dtype until a
    checkpoint is loaded, which costs 1e-7 of a step).

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> NAdam([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.4718, 2.5282])
    """

    SPEC = SPEC
    STATE = {"mu_product": "mu_product", "m": "exp_avg", "v": "exp_avg_sq"}  # noqa: RUF012
    LATER = {  # noqa: RUF012
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    @profiled("nadam")
    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _product(self, p: Tensor, group: Group, value: float) -> Tensor:
        dtype = torch.float64 if p.dtype == torch.float64 else torch.float32
        return torch.tensor(value, dtype=dtype, device=p.device if group["capturable"] else "cpu")

    def _start(self, p: Tensor, group: Group) -> State:
        moments = ("exp_avg", "exp_avg_sq")
        zeros = {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in moments}
        return {"mu_product": self._product(p, group, 1.0), **zeros}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for p in group["params"]:
                product = self.state[p].get("mu_product") if p in self.state else None
                if product is not None and not isinstance(product, Tensor):  # old checkpoints
                    self.state[p]["mu_product"] = self._product(p, group, product)

    def _native(self, group: Group) -> ns.Native:
        numbers = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
        numbers += (group["momentum_decay"],)
        return ns.Native("step_nadam", ("exp_avg", "exp_avg_sq"), ns.bits(group), numbers)

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
        on_device = isinstance(t, Tensor) or isinstance(b1, Tensor)
        mu, ahead = momentum(b1, t, group), momentum(b1, t + 1, group)
        held = state["mu_product"].mul_(mu)
        product: Number = held if on_device else held.item()
        # the two quotients have one root, and sqrt(1 - b2^t) is folded into numbers, as in adam.py
        correction = unbiased(b2, t) ** 0.5
        eps = group["eps"] * correction
        root = v.sqrt() + eps if group["differentiable"] else v.sqrt().add_(eps)
        descend_quotient_(p, g, root, lr * correction * (1 - mu) / (1 - product))
        descend_quotient_(p, m, root, lr * correction * ahead / (1 - product * ahead))

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
        corrections = [unbiased(b2, t) ** 0.5 for t in ts]
        roots = torch._foreach_sqrt(vs)
        torch._foreach_add_(roots, [group["eps"] * c for c in corrections])
        now, later = [], []
        for state, t, c in zip(states, ts, corrections, strict=True):
            mu, ahead = momentum(b1, t, group), momentum(b1, t + 1, group)
            product = state["mu_product"].mul_(mu).item()
            now.append(-lr * c * (1 - mu) / (1 - product))
            later.append(-lr * c * ahead / (1 - product * ahead))
        torch._foreach_addcdiv_(ps, gs, roots, now)
        torch._foreach_addcdiv_(ps, ms, roots, later)


def momentum(b1: Number, t: Number, group: Group) -> Number:
    """The momentum of step t."""
    return b1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"]))
