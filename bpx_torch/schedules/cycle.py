"""Cycles for PyTorch. Maths, options and source: bpx/schedules/cycle.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch.optim import lr_scheduler as torchs

from bpx.schedules.cycle import CYCLIC, ONE_CYCLE
from bpx.spec import require
from bpx_torch._scheduler import Rate, check, put_momentum


def _each(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _momentum(entry: str, optimizer: Any, cycled: bool) -> None:
    known = "momentum" in optimizer.defaults or "betas" in optimizer.defaults
    require(
        not cycled or known,
        f"{entry}: cycle_momentum is True, expected False (the optimizer has neither momentum nor "
        "betas)",
    )


class OneCycleLR(torchs.OneCycleLR):
    """Replaces torch.optim.lr_scheduler.OneCycleLR.

    Differs: in step total_steps, whose rate no optimizer step uses, lr stays what it was; torch
    goes on along the curve.

    Raises:
        SpecError: no number of steps is given, more steps are taken, or an option is outside its
            limits.
    """

    SPEC = ONE_CYCLE

    def __init__(
        self,
        optimizer: Any,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        name = ONE_CYCLE.name
        if total_steps is None:
            require(
                epochs is not None and steps_per_epoch is not None,
                f"{name}: total_steps is None, expected an integer, or epochs and steps_per_epoch",
            )
            assert epochs is not None
            assert steps_per_epoch is not None
            total_steps = epochs * steps_per_epoch
        check(
            ONE_CYCLE,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=anneal_strategy,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
        )
        _momentum(name, optimizer, cycle_momentum)
        super().__init__(
            optimizer,
            max_lr,
            total_steps,
            pct_start=float(pct_start),
            anneal_strategy=anneal_strategy,
            cycle_momentum=cycle_momentum,
            base_momentum=base_momentum,
            max_momentum=max_momentum,
            div_factor=div_factor,
            final_div_factor=final_div_factor,
            three_phase=three_phase,
            last_epoch=last_epoch,
        )

    def get_lr(self) -> list[Rate]:
        """One learning rate for each group, at last_epoch; sets the momentum too."""
        t = self.last_epoch
        require(
            t <= self.total_steps,
            f"{ONE_CYCLE.name}: step is {t}, expected at most total_steps ({self.total_steps})",
        )
        start, phase, done = 0.0, self._schedule_phases[-1], 1.0
        for phase in self._schedule_phases:
            end = phase["end_step"]
            if t <= end and end != start:
                done = (t - start) / (end - start)
                break
            start = end
        if self._anneal_func_type == "cos":
            done = math.sin(math.pi / 2 * done) ** 2

        def between(group: dict[str, Any], what: str) -> Any:
            a, b = group[phase[f"start_{what}"]], group[phase[f"end_{what}"]]
            return a * (1 - done) + b * done

        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                put_momentum(group, between(group, "momentum"))
        return [between(group, "lr") for group in self.optimizer.param_groups]


class CyclicLR(torchs.CyclicLR):
    """Replaces torch.optim.lr_scheduler.CyclicLR; scale_fn is a function of the caller's own.

    Raises:
        SpecError: an option outside its limits.
    """

    SPEC = CYCLIC

    def __init__(
        self,
        optimizer: Any,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        for highest in _each(max_lr):
            check(
                CYCLIC,
                max_lr=highest,
                step_size_up=step_size_up,
                step_size_down=step_size_down,
                mode=mode if scale_fn is None else "triangular",
                gamma=gamma,
            )
        _momentum(CYCLIC.name, optimizer, cycle_momentum)
        super().__init__(
            optimizer,
            base_lr,
            max_lr,
            step_size_up,
            step_size_down,
            mode,
            gamma,
            scale_fn,
            scale_mode,
            cycle_momentum,
            base_momentum,
            max_momentum,
            last_epoch,
        )

    def get_lr(self) -> list[Rate]:
        """One learning rate for each group, at last_epoch; sets the momentum too."""
        t = self.last_epoch
        cycle, since = divmod(t, self.total_size)
        up = self.total_size * self.step_ratio
        height = min(since / up, (self.total_size - since) / (self.total_size - up))
        height = height * self._scale(cycle, t)
        if self.cycle_momentum:
            ends = zip(
                self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True
            )
            for group, low, high in ends:
                put_momentum(group, high - (high - low) * height)
        pairs = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height for low, high in pairs]

    def _scale(self, cycle: float, t: int) -> float:
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(cycle + 1 if self.scale_mode == "cycle" else t)
        if self.mode == "triangular2":
            return 0.5**cycle
        return float(self.gamma) ** t if self.mode == "exp_range" else 1.0
