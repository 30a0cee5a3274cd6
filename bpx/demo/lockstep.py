"""The training loop: one or two trainers, the same batches, and what the run must hold to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpx.demo import settings as settings_of
from bpx.demo.settings import Settings

Array = np.ndarray[Any, Any]

# The relative difference of the losses, and over how many first steps it must hold (None: all).
# Curves drift apart in time: a rounding error in a weight is an error of the gradient of the next
# step. Two networks against each other drift faster than one.
LOSS_LIMIT = {"float32": 1e-4, "float64": 1e-9}
LOSS_STEPS: dict[str, dict[str, int | None]] = {
    "mlp": {"float32": 200, "float64": None},
    "cnn": {"float32": 100, "float64": None},
    "rnn": {"float32": 100, "float64": None},
    "transformer": {"float32": 200, "float64": None},
    "gan": {"float32": 50, "float64": 200},
}


class Interrupted(Exception):
    """The run was stopped; `state` is that before the step that was not finished."""

    def __init__(self, state: State) -> None:
        super().__init__(f"stopped before step {state.step}")
        self.state = state


@dataclass(frozen=True)
class State:
    """Everything a run goes on from: arrays by trainer, and what has been recorded.

    losses (trainers, steps), or (trainers, steps, losses) where a step has several; statistics
    (trainers, steps, layers with parameters, 2): the norm and the variance of the gradient. Both
    float64.
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


def start(trainers: list[Any], layers: int, losses: int = 1) -> State:
    n = len(trainers)
    arrays = {t.name: t.state() for t in trainers}
    none = np.zeros((n, 0) if losses == 1 else (n, 0, losses))
    return State(0, arrays, none, np.zeros((n, 0, layers, 2)))


def train(
    trainers: list[Any],
    data: Any,
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
            batch = data.batch(state.step, settings.batch_size)
            results = [t.step(*batch) for t in trainers]
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
    """The relative difference of the two losses at every step, |a - b| / max(|a|, |b|); the
    largest where a step has several."""
    a, b = losses
    with np.errstate(invalid="ignore"):  # a run that diverged has a difference of NaN
        gaps = np.abs(a - b) / np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(float).tiny)
    return gaps.reshape(len(gaps), -1).max(1) if gaps.ndim > 1 else gaps


def window(settings: Settings) -> int | None:
    """Over how many first steps the losses are held against each other; None: over all."""
    return LOSS_STEPS[settings.model][settings.dtype]


def limits(settings: Settings, losses: Array) -> list[Limit]:
    """What must hold of the losses of the finished run, and whether it does."""
    if len(losses) < 2:
        return []
    first, most = window(settings), LOSS_LIMIT[settings.dtype]
    over = "the whole run" if first is None else f"the first {first} steps"
    worst = float(differences(losses)[:first].max())
    what = f"losses, largest relative difference over {over}"
    return [Limit(what, f"<= {most:.0e}", f"{worst:.1e}", worst <= most)]


def short(settings: Settings, steps: int, examples: int, unit: str) -> str:
    """ "" for a run that is long enough to be judged by what it learned, else how short it is."""
    full = settings_of.defaults(settings.model)
    wanted = full.epochs * (examples // full.batch_size) * full.batch_size
    seen = steps * settings.batch_size
    return f", after {seen} of {wanted} {unit}" if seen < wanted else ""
