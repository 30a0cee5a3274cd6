"""What the schedules share: the step from one learning rate to the next.

The classes are subclasses of torch's, so their constructor arguments, attributes and state_dict are
torch's, and what asks for a torch scheduler takes them. Their numbers are computed here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from bpx.training import Schedule

Rate = float | Tensor


def check(spec: Schedule, **given: Any) -> None:
    """Raise SpecError for options outside the entry's limits."""
    if spec.check is not None:
        spec.check({**spec.options, **given})


class Stepping:
    """get_lr from a factor: lr - floor is times factor(t) / factor(t - 1).

    So a schedule acts on the rate that is in the optimizer, and several act on one. Where the
    factor was 0 there is nothing to multiply: (base - floor) * factor(t) is added. A scheduler that
    is made to resume (last_epoch >= 0) leaves the rate that the optimizer holds.
    """

    SPEC: ClassVar[Schedule]
    floor: ClassVar[str | None] = None  # the attribute with the lowest value, where it is not 0
    last_epoch: int
    base_lrs: list[Any]
    optimizer: Any
    _is_initial: bool

    def _factor(self, t: int) -> float:
        raise NotImplementedError

    def _floor(self) -> float:
        return 0.0 if self.floor is None else getattr(self, self.floor)

    def get_lr(self) -> list[Rate]:
        """One learning rate for each group, at last_epoch."""
        t, rates = self.last_epoch, held(self.optimizer)
        if self._is_initial and t > 0:
            return rates
        now, before = self._factor(t), self._factor(t - 1) if t > 0 else 1.0
        if now == before:
            return rates
        low = self._floor()
        if before == 0:
            pairs = zip(rates, self.base_lrs, strict=True)
            return [lr + (base - low) * now for lr, base in pairs]
        return [low + (lr - low) * (now / before) for lr in rates]

    def _get_closed_form_lr(self) -> list[Rate]:
        low, factor = self._floor(), self._factor(self.last_epoch)
        return [low + (base - low) * factor for base in self.base_lrs]


def held(optimizer: Any) -> list[Rate]:
    """The learning rate of each group, tensors as copies."""
    rates = (group["lr"] for group in optimizer.param_groups)
    return [lr.clone() if isinstance(lr, Tensor) else lr for lr in rates]


def put(group: dict[str, Any], lr: Rate) -> None:
    """Set the learning rate of a group, a tensor in place."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(float(lr))
    else:
        group["lr"] = lr


def put_momentum(group: dict[str, Any], value: float) -> None:
    """Set the momentum of a group, or its first beta where it has betas."""
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value
