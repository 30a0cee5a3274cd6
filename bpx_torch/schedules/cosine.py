"""Cosine annealing for PyTorch. Maths, options and source: bpx/schedules/cosine.py."""

from __future__ import annotations

import math
from typing import Any

from torch.optim import lr_scheduler as torchs

from bpx.schedules.cosine import ANNEALING, RESTARTS
from bpx.spec import require
from bpx_torch._scheduler import Rate, Stepping, check, held, put


def _wave(x: float) -> float:
    """1 at x = 0, 0 at x = 1; (1 + cos(pi x)) / 2 as a square, which does not cancel near 1."""
    return math.cos(math.pi / 2 * x) ** 2 if x % 2 != 1 else 0.0


class CosineAnnealingLR(Stepping, torchs.CosineAnnealingLR):
    """Replaces torch.optim.lr_scheduler.CosineAnnealingLR. Half a wave from lr to eta_min and up.

    Raises:
        SpecError: T_max is not above 0, or eta_min is not finite.
    """

    SPEC = ANNEALING
    floor = "eta_min"

    def __init__(
        self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        check(ANNEALING, T_max=T_max, eta_min=eta_min)
        super().__init__(optimizer, T_max, eta_min, last_epoch)

    def _factor(self, t: int) -> float:
        return _wave(t / self.T_max)


class CosineAnnealingWarmRestarts(torchs.CosineAnnealingWarmRestarts):
    """Replaces torch.optim.lr_scheduler.CosineAnnealingWarmRestarts, fractions of epochs included.

    Raises:
        SpecError: T_0 or T_mult is no integer of at least 1, eta_min is not finite, or step is
            given an epoch below 0.
    """

    SPEC = RESTARTS
    last_epoch: int

    def __init__(
        self,
        optimizer: Any,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        check(RESTARTS, T_0=T_0, T_mult=T_mult, eta_min=eta_min)
        super().__init__(optimizer, T_0, T_mult, eta_min, last_epoch)

    def get_lr(self) -> list[Rate]:
        """One learning rate for each group, T_cur steps after the last restart."""
        share = _wave(self.T_cur / self.T_i)
        return [base * share + self.eta_min * (1 - share) for base in self.base_lrs]

    def _get_closed_form_lr(self) -> list[Rate]:  # asked for when a sequence starts it
        self._place(self.last_epoch)
        return self.get_lr()

    def _place(self, epoch: float) -> None:
        if self.T_mult == 1:
            run = epoch // self.T_0
            before, length = self.T_0 * run, self.T_0
        else:  # T_0 (T_mult^run - 1) / (T_mult - 1) steps come before a run
            run, before, length = 0, 0, self.T_0
            while epoch >= before + length:
                run, before, length = run + 1, before + length, length * self.T_mult
        self.T_cur, self.T_i = epoch - before, length

    def step(self, epoch: float | None = None) -> None:
        """Go one step on, or to `epoch`, a number of steps that may have a fraction."""
        if epoch is None:
            epoch = self.last_epoch + 1
        require(epoch >= 0, f"{RESTARTS.name}: epoch is {epoch!r}, expected a number at least 0")
        self._place(epoch)
        self.last_epoch = math.floor(epoch)
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            put(group, lr)
        self._last_lr = held(self.optimizer)
