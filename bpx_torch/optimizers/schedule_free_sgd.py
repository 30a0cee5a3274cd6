"""Schedule-Free SGD for PyTorch. Maths, options, source: bpx/optimizers/schedule_free_sgd.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.optimizers.schedule_free_sgd import SPEC
from bpx_torch._rows import Group, State
from bpx_torch._scalars import Number, add_scaled
from bpx_torch.optimizers._schedule_free import ScheduleFree, counters


class SGDScheduleFree(ScheduleFree):
    """As schedulefree.SGDScheduleFree: the same arguments, steps and state; torch.optim has none.

    Call `eval()` before the model is evaluated or saved, `train()` before it is trained on.

    Differs: it starts in train mode; `p.grad` is not changed; `maximize`; z of a 16-bit parameter
    is float32.

    Args:
        params: tensors, named tensors, or groups of them.
        lr: the step; no schedule is needed.
        momentum: the share of the average x in y, between 0 and 1.
        weight_decay: added to the gradient.
        warmup_steps: over which lr rises linearly.
        r: later iterates weigh more in the average, as the power r of their number.
        weight_lr_power: they weigh as this power of the largest lr so far.
        foreach, maximize: as in torch.optim.SGD.

    Raises:
        SpecError: an option outside its limits; a step in eval mode.

    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> w.grad = torch.tensor([0.5, -1.0])
    >>> SGDScheduleFree([w], lr=0.5).step()
    >>> w.detach()
    tensor([0.7500, 2.5000])
    """

    SPEC = SPEC
    STATE = {"z": "z"}  # noqa: RUF012

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        momentum: float = 0.9,
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
            "momentum": momentum,
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
        return float(group["momentum"])

    def _step_one(self, p: Tensor, g: Tensor, state: State, group: Group, t: Number) -> None:
        d = add_scaled(g, p, group["weight_decay"])
        self._move(p, d, state["z"], group)

    def _step_many(
        self, ps: list[Tensor], gs: list[Tensor], states: list[State], group: Group, ts: list[float]
    ) -> None:
        ds = gs
        if group["weight_decay"] != 0:
            ds = list(torch._foreach_add(gs, ps, alpha=group["weight_decay"]))
        self._move_many(ps, ds, states, group)
