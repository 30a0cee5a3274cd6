"""What the Schedule-Free optimizers share: the group's counters, and the two modes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bpx.spec import SpecError
from bpx_torch._optimizer import SpecOptimizer
from bpx_torch._rows import Group, State
from bpx_torch._scalars import number
from bpx_torch._wide import wide


class ScheduleFree(SpecOptimizer):
    """Base class. The parameters are y in training and x in evaluation; the state holds z."""

    COUNTS = False
    LATER = {"foreach": None, "maximize": False}  # noqa: RUF012

    def _beta(self, group: Group) -> float:
        raise NotImplementedError

    def _start(self, p: Tensor, group: Group) -> State:
        return {"z": p.clone(memory_format=torch.preserve_format)}

    @torch.no_grad()
    def eval(self) -> None:
        """Put the parameters where the model is to be evaluated, x. Does nothing when they are."""
        self._interpolate(train=False)

    @torch.no_grad()
    def train(self) -> None:
        """Put the parameters where gradients are taken, y. Does nothing when they are."""
        self._interpolate(train=True)

    def _interpolate(self, train: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] != train:
                beta = self._beta(group)
                for p in group["params"]:
                    if "z" in self.state.get(p, {}):
                        # y = x + (1 - beta) (z - x), and the same solved for x
                        z = self.state[p]["z"]
                        p.copy_(wide(p).lerp(z, 1 - beta if train else 1 - 1 / beta))
                group["train_mode"] = train

    def _step_group(self, group: Group) -> None:
        if not group["train_mode"]:
            raise SpecError(
                f"{self.SPEC.name}: step is called in eval mode, expected train mode "
                "(call optimizer.train() first)"
            )
        t, warmup, lr = group["k"] + 1, group["warmup_steps"], number(group["lr"])
        size = lr * min(t / warmup, 1.0) if warmup > 0 else lr
        group["scheduled_lr"] = size
        group["lr_max"] = max(size, group["lr_max"])
        group["weight_sum"] += self._weight(group)
        super()._step_group(group)
        group["k"] = t

    def _weight(self, group: Group) -> float:
        """Of this step's z in the mean x."""
        t = group["k"] + 1
        return float(t ** group["r"] * group["lr_max"] ** group["weight_lr_power"])

    def _share(self, group: Group) -> float:
        total = group["weight_sum"]
        return float(self._weight(group) / total) if total > 0 else 0.0

    def _move(self, p: Tensor, d: Tensor, z: Tensor, group: Group) -> None:
        """z <- z - size d, and y with it; x stands in neither line."""
        c, size = self._share(group), group["scheduled_lr"]
        y = p.lerp(z, c).sub_(d * (size * (1 - self._beta(group) * (1 - c))))
        p.copy_(y)
        z.sub_(d * size)

    def _move_many(
        self, ps: list[Tensor], ds: list[Tensor], states: list[State], group: Group
    ) -> None:
        c, size = self._share(group), group["scheduled_lr"]
        zs = [s["z"] for s in states]
        torch._foreach_lerp_(ps, zs, c)
        torch._foreach_add_(ps, ds, alpha=-size * (1 - self._beta(group) * (1 - c)))
        torch._foreach_add_(zs, ds, alpha=-size)


def counters() -> dict[str, Any]:
    """The entries of a group that count, under the names of the authors' package."""
    return {"k": 0, "train_mode": True, "weight_sum": 0.0, "lr_max": -1.0, "scheduled_lr": 0.0}
