"""Schedule-Free AdamW for PyTorch. Maths, options: bpx/optimizers/schedule_free_adamw.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.schedule_free_adamw import SPEC
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, add_scaled, mix_square_, number, unbiased
from bpx_torch.optimizers._schedule_free import ScheduleFree, counters


class AdamWScheduleFree(ScheduleFree):
    """As schedulefree.AdamWScheduleFree: the same arguments, steps and state; torch.optim has none.

    Call `eval()` before the model is evaluated or saved, `train()` before it is trained on.

    Differs: it starts in train mode; `p.grad` is not changed; `maximize`; the state of a 16-bit
    parameter is float32.

    Args:
        params: tensors, named tensors, or groups of them.
        lr: the step; no schedule is needed.
        betas: the share of the average x in y, between 0 and 1, and the decay of the second moment.
        eps: added after the root.
        weight_decay: decoupled, multiplied by lr.
        warmup_steps: over which lr rises linearly.
        r: later iterates weigh more in the average, as the power r of their number.
        weight_lr_power: they weigh as this power of the largest lr so far.
        foreach, maximize: as in torch.optim.AdamW.

    Raises:
        SpecError: an option outside its limits; a step in eval mode.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> AdamWScheduleFree([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.5000, 2.5000])
    """

    SPEC = SPEC
    STATE = {"z": "z", "v": "exp_avg_sq"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 0.0025,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        warmup_steps: int = 0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "r": r,
            "warmup_steps": warmup_steps,
            "weight_lr_power": weight_lr_power,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            **counters(),
        }
        super().__init__(params, defaults)

    def _beta(self, group: Group) -> float:
        return float(group["betas"][0])

    def _start(self, p: Tensor, group: Group) -> State:
        return {
            **super()._start(p, group),
            "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
        }

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        v, b2 = state["exp_avg_sq"], number(group["betas"][1])
        mix_square_(v, g, b2)
        d = g / ((v / unbiased(b2, group["k"] + 1)).sqrt_().add_(group["eps"]))
        self._move(p, add_scaled(d, p, group["weight_decay"]), state["z"], group)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        vs, b2 = [s["exp_avg_sq"] for s in states], group["betas"][1]
        torch._foreach_mul_(vs, b2)
        torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
        roots = torch._foreach_div(vs, unbiased(b2, group["k"] + 1))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        ds = list(torch._foreach_div(gs, roots))
        if group["weight_decay"] != 0:
            torch._foreach_add_(ds, ps, alpha=group["weight_decay"])
        self._move_many(ps, ds, states, group)
