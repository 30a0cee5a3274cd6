"""The training loop: one or two trainers, the same batches, and what the run must hold to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx.demo.digits import Batch, Digits
from bpx.demo.settings import BATCH_SIZE, EPOCHS, Settings

Array = np.ndarray[Any, Any]

# What must hold: relative difference of the losses (and over how many steps), difference of the
# accuracies, and the accuracy itself. float32 curves drift apart in time: a rounding error in a
# weight is an error of the gradient of the next step.
LOSS_LIMIT = {"float32": 1e-4, "float64": 1e-9}
LOSS_STEPS = {"float32": 200, "float64": None}
ACCURACY_APART, ACCURACY = 0.005, 0.97


class Interrupted(Exception):
    """The run was stopped; `state` is that before the step that was not finished."""

    def __init__(self, state: State) -> None:
        super().__init__(f"stopped before step {state.step}")
        self.state = state


@dataclass(frozen=True)
class State:
    """Everything a run goes on from: arrays by trainer, and what has been recorded.

    losses (trainers, steps); statistics (trainers, steps, layers with parameters, 2): the norm and
    the variance of the gradient. Both float64.
    """

    step: int
    arrays: dict[str, dict[str, Array]]
    losses: Array
    statistics: Array


@dataclass(frozen=True)
class Limit:
    """One thing the run must hold to. `holds` is None where it does not apply, `found` says why."""

    what: str
    limit: str
    found: str
    holds: bool | None


def start(trainers: list[Any], layers: int) -> State:
    n = len(trainers)
    arrays = {t.name: t.state() for t in trainers}
    return State(0, arrays, np.zeros((n, 0)), np.zeros((n, 0, layers, 2)))


def train(
    trainers: list[Any],
    digits: Digits,
    settings: Settings,
    begin: State,
    total: int,
    after: Callable[[State], None] = lambda state: None,
) -> State:
    """Steps up to `total`, each in every trainer before the next; `after` sees every state.

    Raises Interrupted, with the last whole state, on KeyboardInterrupt wherever it arrives: a step
    is whole once the state after it has been taken, in one assignment.
    """
    state = begin
    try:
        while state.step < total:
            batch = digits.batch(state.step, settings.batch_size)
            results = [t.step(batch.x, batch.y) for t in trainers]
            losses, rows = (np.stack(column)[:, None] for column in zip(*results, strict=True))
            state = State(
                state.step + 1,
                {t.name: t.state() for t in trainers},
                np.concatenate([state.losses, losses], 1),
                np.concatenate([state.statistics, rows], 1),
            )
            after(state)
    except KeyboardInterrupt:
        raise Interrupted(state) from None
    return state


def differences(losses: Array) -> Array:
    """The relative difference of the two losses at every step, |a - b| / max(|a|, |b|)."""
    a, b = losses
    with np.errstate(invalid="ignore"):  # a run that diverged has a difference of NaN
        return np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(float).tiny)


def accuracies(trainers: list[Any], test: Batch) -> dict[str, float]:
    return {t.name: t.accuracy(test.x, test.y) for t in trainers}


def limits(
    settings: Settings, losses: Array, accuracy: dict[str, float], train: int
) -> list[Limit]:
    """What must hold of the finished run, and whether it does."""
    found = []
    steps = losses.shape[1]
    if len(losses) == 2:
        window, most = LOSS_STEPS[settings.dtype], LOSS_LIMIT[settings.dtype]
        over = "the whole run" if window is None else f"the first {window} steps"
        worst = float(differences(losses)[:window].max())
        what = f"losses, largest relative difference over {over}"
        found.append(Limit(what, f"<= {most:.0e}", f"{worst:.1e}", worst <= most))
        apart = max(accuracy.values()) - min(accuracy.values())
        found.append(
            Limit(
                "test accuracies apart",
                f"<= {100 * ACCURACY_APART:g} points",
                f"{100 * apart:.2f} points",
                apart <= ACCURACY_APART,
            )
        )
    least = min(accuracy.values())
    needed = EPOCHS * (train // BATCH_SIZE)
    seen, wanted = steps * settings.batch_size, needed * BATCH_SIZE
    short = seen < wanted
    found.append(
        Limit(
            "test accuracy",
            f">= {100 * ACCURACY:g} %",
            f"{100 * least:.2f} %" + (f", after {seen} of {wanted} images" if short else ""),
            None if short else least >= ACCURACY,
        )
    )
    return found
