"""Ramps for PyTorch. Maths, options and source: bpx/schedules/ramp.py."""

from __future__ import annotations

from typing import Any

from torch.optim import lr_scheduler as torchs

from bpx.schedules.ramp import CONSTANT, LINEAR, POLYNOMIAL
from bpx.spec import require
from bpx_torch._scheduler import Stepping, check


def _within(entry: str, name: str, value: float, above: bool = False) -> None:
    good = (0 < value if above else 0 <= value) and value <= 1
    limits = "(0, 1]" if above else "[0, 1]"
    require(good, f"{entry}: {name} is {value!r}, expected a number in {limits} (as torch)")


class ConstantLR(Stepping, torchs.ConstantLR):
    """Replaces torch.optim.lr_scheduler.ConstantLR. lr is times factor for total_iters steps.

    Differs: with total_iters=0 there is no such step; torch multiplies and never undoes it.

    Raises:
        SpecError: factor is not in [0, 1], or total_iters is no integer of at least 0.
    """

    SPEC = CONSTANT

    def __init__(
        self,
        optimizer: Any,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        check(CONSTANT, factor=factor, total_iters=total_iters)
        _within(CONSTANT.name, "factor", factor)
        super().__init__(optimizer, factor, total_iters, last_epoch)

    def _factor(self, t: int) -> float:
        return self.factor if t < self.total_iters else 1.0


class LinearLR(Stepping, torchs.LinearLR):
    """Replaces torch.optim.lr_scheduler.LinearLR. lr goes from start_factor to end_factor of it.

    Raises:
        SpecError: start_factor is not in (0, 1], end_factor not in [0, 1], or total_iters is no
            integer of at least 1.
    """

    SPEC = LINEAR

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        check(LINEAR, start_factor=start_factor, end_factor=end_factor, total_iters=total_iters)
        _within(LINEAR.name, "start_factor", start_factor, above=True)
        _within(LINEAR.name, "end_factor", end_factor)
        super().__init__(optimizer, start_factor, end_factor, total_iters, last_epoch)

    def _factor(self, t: int) -> float:
        if t >= self.total_iters:
            return self.end_factor
        left = self.total_iters - t
        return (self.start_factor * left + self.end_factor * t) / self.total_iters


class PolynomialLR(Stepping, torchs.PolynomialLR):
    """Replaces torch.optim.lr_scheduler.PolynomialLR. lr is times a power of the steps left.

    Raises:
        SpecError: total_iters is no integer of at least 1, or power is below 0.
    """

    SPEC = POLYNOMIAL

    def __init__(
        self, optimizer: Any, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        check(POLYNOMIAL, total_iters=total_iters, power=power)
        super().__init__(optimizer, total_iters, power, last_epoch)

    def _factor(self, t: int) -> float:
        return (max(self.total_iters - t, 0) / self.total_iters) ** self.power
