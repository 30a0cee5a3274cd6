"""What follows a metric, for PyTorch. Maths, options and source: bpx/transforms/metric.py."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.optim import lr_scheduler as torchs

from bpx.spec import SpecError, one_of, require
from bpx.transforms.metric import EARLY_STOPPING, PLATEAU
from bpx_torch._scheduler import held, put


class ReduceLROnPlateau(torchs.ReduceLROnPlateau):
    """Replaces torch.optim.lr_scheduler.ReduceLROnPlateau.

    Raises:
        SpecError: an option outside its limits, or another number of min_lr than of groups.
    """

    SPEC = PLATEAU
    last_epoch: int
    cooldown_counter: int
    min_lrs: list[float]

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        name = PLATEAU.name
        one_of(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        lows = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr]
        given = {"mode": mode, "factor": factor, "patience": patience, "cooldown": cooldown}
        limit = {"rel": "rtol", "abs": "atol"}[threshold_mode]
        for low in lows:
            options = {**PLATEAU.options, **given, "eps": eps, "min_lr": low, limit: threshold}
            if PLATEAU.check is not None:
                PLATEAU.check(options)
        groups = len(optimizer.param_groups)
        require(
            lows == [min_lr] or len(lows) == groups,
            f"{name}: min_lr is {min_lr!r}, expected a number or {groups} (one a group)",
        )
        super().__init__(
            optimizer,
            mode,
            factor,
            patience,
            threshold,
            threshold_mode,
            cooldown,
            min_lr,
            eps,
        )

    def _gain(self, metric: float) -> float:
        """How far a metric is beyond what counts as better."""
        sign = 1.0 if self.mode == "min" else -1.0
        rel, limit = self.threshold_mode == "rel", self.threshold
        bound = self.best * (1 - sign * limit) if rel else self.best - sign * limit
        return sign * (bound - metric)

    def step(self, metrics: Any, epoch: Any = None) -> None:
        """Take the metric of an evaluation; `epoch` only sets the count."""
        metric = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._gain(metric) > 0:
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0
        if self.num_bad_epochs > self.patience:
            self._lower()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = held(self.optimizer)

    def _lower(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs) and self.default_min_lr is not None:
            self.min_lrs = [self.default_min_lr] * len(groups)
        require(
            len(groups) == len(self.min_lrs),
            f"{PLATEAU.name}: min_lrs has {len(self.min_lrs)} numbers, expected {len(groups)} "
            "(a group was added)",
        )
        for group, low in zip(groups, self.min_lrs, strict=True):
            lr = float(group["lr"])
            lower = max(lr * self.factor, low)
            if lr - lower > self.eps:
                put(group, lower)


class EarlyStopping:
    """Says when a metric no longer gets better, and keeps the weights of its best.

    Args:
        patience: how many evaluations without a better metric end the run, at least 1.
        min_delta: what a metric has to be better by.
        mode: "min" or "max".
        model: the module whose state is kept; without one nothing is.

    >>> stopping = EarlyStopping(patience=2)
    >>> [stopping.step(loss) for loss in (3.0, 2.0, 2.5, 2.0)]
    [False, False, False, True]

    Raises:
        SpecError: an option outside its limits.
    """

    SPEC = EARLY_STOPPING

    def __init__(
        self,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "min",
        *,
        model: torch.nn.Module | None = None,
    ) -> None:
        if EARLY_STOPPING.check is not None:
            EARLY_STOPPING.check({"patience": patience, "min_delta": min_delta, "mode": mode})
        self.patience, self.min_delta, self.mode = patience, min_delta, mode
        self.model = model
        self.best = math.inf if mode == "min" else -math.inf
        self.bad, self.at, self.t = 0, -1, 0
        self.weights = self._weights()

    def _weights(self) -> dict[str, Any]:
        state = {} if self.model is None else self.model.state_dict()
        return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()}

    def step(self, metric: Any) -> bool:
        """Take the metric of an evaluation; True where the run should end."""
        metric, t = float(metric), self.t
        self.t += 1
        sign = 1.0 if self.mode == "min" else -1.0
        if sign * (self.best - metric) > self.min_delta:
            self.best, self.bad, self.at, self.weights = metric, 0, t, self._weights()
        else:
            self.bad += 1
        return self.bad >= self.patience

    def restore(self) -> None:
        """Give the model the weights of the best evaluation, those it had first before one.

        Raises:
            SpecError: there is no model.
        """
        if self.model is None:
            raise SpecError(f"{EARLY_STOPPING.name}: model is None, expected a module to restore")
        self.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """All but the options and the model."""
        names = ("best", "bad", "at", "t", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        for name in ("best", "bad", "at", "t", "weights"):
            setattr(self, name, state_dict[name])
