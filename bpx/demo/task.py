"""What a model is trained on, and how the finished run is judged: one record for every --model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bpx.demo.lockstep import Limit, State
from bpx.demo.network import Adversaries, Network


@dataclass(frozen=True)
class Figure:
    """A number in large print; `framework` is whose it is, "" for nobody's."""

    value: str
    label: str
    framework: str = ""


@dataclass(frozen=True)
class Card:
    """A picture (an <svg> element) or a text of the report, with its title and a remark."""

    title: str
    remark: str
    svg: str = ""
    text: str = ""


@dataclass(frozen=True)
class Verdict:
    """What came of a run, beside its losses."""

    figures: tuple[Figure, ...]
    limits: tuple[Limit, ...]
    cards: tuple[Card, ...] = ()
    heading: str = ""
    words: str = ""


@dataclass(frozen=True)
class Task:
    """`data.batch(step, size)` gives the arrays that `network.inputs` names, in order.

    examples   how many an epoch has, each a `unit`
    summary    the network and what it learns, as the report's first words
    facts      what the report says of the data
    identity   what else decides the numbers of a step
    lines      levels to draw beside the loss: (what it is, its value)
    verified   how many examples the gradients are verified on; None: a whole batch
    losses     the names of the losses, where there is more than one
    judge      of (trainers, state, the words for a run that is too short, or "")
    """

    network: Network | Adversaries
    data: Any
    examples: int
    unit: str
    summary: str
    facts: Mapping[str, str]
    judge: Callable[[list[Any], State, str], Verdict]
    verified: int | None = None
    loss_unit: str = "nats"
    losses: tuple[str, ...] = ()
    lines: tuple[tuple[str, float], ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
