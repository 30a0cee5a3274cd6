"""Repeated factors for PyTorch. Maths, options and source: bpx/schedules/decay.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import lr_scheduler as torchs

from bpx.schedules.decay import EXPONENTIAL, MULTI_STEP, STEP
from bpx_torch._scheduler import Stepping, check


class StepLR(Stepping, torchs.StepLR):
    """Replaces torch.optim.lr_scheduler.StepLR. lr is times gamma every step_size steps.

    Differs: made with last_epoch >= 0 it leaves the optimizer's lr as it is, also at a multiple of
    step_size.

    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> opt = torch.optim.SGD([w], lr=0.4)
    >>> schedule = StepLR(opt, step_size=2, gamma=0.5)
    >>> for _ in range(3):
    ...     opt.step()
    ...     schedule.step()
    >>> opt.param_groups[0]["lr"]
    0.2

    Raises:
        SpecError: step_size is no integer of at least 1, or gamma is not finite.
    """

    SPEC = STEP

    def __init__(
        self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        check(STEP, step_size=step_size, gamma=gamma)
        super().__init__(optimizer, step_size, gamma, last_epoch)

    def _factor(self, t: int) -> float:
        return float(self.gamma) ** (t // self.step_size)


class MultiStepLR(Stepping, torchs.MultiStepLR):
    """Replaces torch.optim.lr_scheduler.MultiStepLR. lr is times gamma at each milestone.

    Differs as StepLR does.

    Raises:
        SpecError: milestones are no ordered integers of at least 0, or gamma is not finite.
    """

    SPEC = MULTI_STEP

    def __init__(
        self, optimizer: Any, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        milestones = sorted(milestones)
        check(MULTI_STEP, milestones=milestones, gamma=float(gamma))
        super().__init__(optimizer, milestones, gamma, last_epoch)

    def _factor(self, t: int) -> float:
        return float(self.gamma) ** sum(n for m, n in self.milestones.items() if m <= t)


class ExponentialLR(Stepping, torchs.ExponentialLR):
    """Replaces torch.optim.lr_scheduler.ExponentialLR. lr is times gamma in every step.

    Raises:
        SpecError: gamma is not a finite number above 0.
    """

    SPEC = EXPONENTIAL

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        check(EXPONENTIAL, gamma=gamma)
        super().__init__(optimizer, gamma, last_epoch)

    def _factor(self, t: int) -> float:
        return float(self.gamma) ** t
