"""The records of what stands around an optimizer: `Schedule` and `Transform`.

As the records of `bpx.spec` they hold functions and data, no framework.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bpx.spec import Options, Reject

PLACES = ("gradients", "weights", "metric")


@dataclass(frozen=True)
class Schedule:
    """A number that changes over a run, such as the learning rate.

    value(t, base, **options) -> float     t = 0, 1, ... steps taken; `base` is what it starts from

    `value` is a closed form: a pure function of t, in Python floats. The frameworks' rules step
    from one value to the next (PyTorch) or are traced (JAX).
    """

    name: str
    path: str
    doc: str
    options: Options
    value: Callable[..., float]
    check: Callable[[Options], None] | None = None
    rejects: tuple[Reject, ...] = ()
    trials: tuple[Options, ...] = ({},)

    def __post_init__(self) -> None:
        if "Source:" not in self.doc:
            raise TypeError(f"{self.name}: doc has no 'Source:' line")


@dataclass(frozen=True)
class Transform:
    """Something done before or after an optimizer's step; `on` says to what.

    init(x, **options) -> state            a dict; x are the weights (a list of arrays), or for a
                                           plateau the learning rate
    step, with on="gradients": step(gs, ps, state, **options) -> (gs or None, state)
                                           before the optimizer; None where it takes no step
          with on="weights":   step(ps, state, **options) -> (weights or averages, state)
                                           after the optimizer
          with on="metric":    step(metric, x, state, **options) -> (answer, state)
                                           after an evaluation

    Nothing is changed in place.
    """

    name: str
    path: str
    doc: str
    on: str
    options: Options
    state: tuple[str, ...]
    init: Callable[..., dict[str, Any]]
    step: Callable[..., Any]
    check: Callable[[Options], None] | None = None
    rejects: tuple[Reject, ...] = ()
    trials: tuple[Options, ...] = ({},)

    def __post_init__(self) -> None:
        if "Source:" not in self.doc:
            raise TypeError(f"{self.name}: doc has no 'Source:' line")
        if self.on not in PLACES:
            raise TypeError(f"{self.name}: on is {self.on!r}, expected one of {PLACES}")
