"""Schedules of schedules for PyTorch. Options and source: bpx/schedules/compose.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.optim import lr_scheduler as torchs

from bpx.schedules.compose import CHAINED, SEQUENTIAL
from bpx.spec import require
from bpx_torch._scheduler import check


def _parts(entry: str, schedulers: Sequence[Any], optimizer: Any) -> None:
    for i, part in enumerate(schedulers):
        kind = type(part).__name__
        good = isinstance(part, torchs.LRScheduler)
        good = good and not isinstance(part, torchs.ReduceLROnPlateau)
        require(
            good,
            f"{entry}: schedulers[{i}] is a {kind}, expected a scheduler that takes no metric",
        )
        require(
            part.optimizer is optimizer,
            f"{entry}: schedulers[{i}] is of another optimizer, expected the one of all others",
        )


class SequentialLR(torchs.SequentialLR):
    """Replaces torch.optim.lr_scheduler.SequentialLR. The numbers are those of its schedulers.

    Raises:
        SpecError: there is no scheduler, one takes a metric or another optimizer, or the milestones
            are not increasing or not one less than the schedulers.
    """

    SPEC = SEQUENTIAL

    def __init__(
        self,
        optimizer: Any,
        schedulers: list[Any],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        given = [lambda t, base: base for _ in schedulers]
        check(SEQUENTIAL, schedules=given, milestones=milestones)
        _parts(SEQUENTIAL.name, schedulers, optimizer)
        super().__init__(optimizer, schedulers, milestones, last_epoch)


class ChainedScheduler(torchs.ChainedScheduler):
    """Replaces torch.optim.lr_scheduler.ChainedScheduler. The numbers are those of its schedulers.

    Raises:
        SpecError: there is no scheduler, or one takes a metric or another optimizer.
    """

    SPEC = CHAINED

    def __init__(self, schedulers: Sequence[Any], optimizer: Any = None) -> None:
        check(CHAINED, schedules=[lambda t, base: base for _ in schedulers])
        _parts(CHAINED.name, schedulers, optimizer or schedulers[0].optimizer)
        super().__init__(schedulers, optimizer)
