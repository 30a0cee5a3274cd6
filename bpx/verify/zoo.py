"""Bugs planted in small rules, each beside its correct twin: what the kit is measured by.

A plant is one mechanism of a bug that was met in public. Its correct twin must raise no alarm, the
broken one must be caught, by the check that is responsible for the mechanism.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bpx.verify.candidate.api import verify_rule
from bpx.verify.candidate.optimizer import KINDS, verify_optimizer
from bpx.verify.candidate.report import CandidateReport


@dataclass(frozen=True)
class Plant:
    """`row` numbers the mechanism; `families` are the checks responsible for it, of which one must
    fail; `how` goes to verify_rule."""

    row: int
    mechanism: str
    families: tuple[str, ...]
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    args: Sequence[Any]  # Float, Index, Mask
    ref: Callable[..., Any]
    how: Mapping[str, Any] = field(default_factory=dict)

    def report(self, rule: Callable[..., Any], framework: str, only: Any = None) -> CandidateReport:
        """What the kit says of one of the twins."""
        how = {**self.how, "framework": framework, "only": only, "budget": math.inf}
        return verify_rule(rule, self.args, ref=self.ref, **how)


@dataclass(frozen=True)
class StepPlant:
    """A bug of an optimizer: `right` and `wrong` make one, as `against` does, or a specification
    with `options`."""

    row: int
    mechanism: str
    families: tuple[str, ...]
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    against: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    kinds: Sequence[str] = KINDS

    def report(self, rule: Callable[..., Any], framework: str, only: Any = None) -> CandidateReport:
        """What the kit says of one of the twins; `only` changes nothing."""
        return verify_optimizer(
            rule, self.against, framework=framework, options=self.options, kinds=self.kinds
        )


@dataclass(frozen=True)
class Correct:
    """A correct function, from the framework or from bpx; `how` goes to verify_rule, with its
    reference."""

    name: str
    rule: Callable[..., Any]
    args: Sequence[Any]  # Float, Index, Mask
    how: Mapping[str, Any]

    def report(self, framework: str) -> CandidateReport:
        how = {**self.how, "framework": framework, "budget": math.inf}
        return verify_rule(self.rule, self.args, **how)


@dataclass(frozen=True)
class Verdict:
    """What the kit said of one plant, and what the framework's own checker did."""

    plant: Plant | StepPlant
    framework: str
    alarms: list[str]  # of the correct twin
    compared: int
    caught_by: list[str]
    seconds: tuple[float, float]
    others: Mapping[str, bool | None]  # checker -> whether it caught the bug; None: not for it

    @property
    def caught(self) -> bool:
        return bool(set(self.caught_by) & set(self.plant.families))


# what a correct twin is always looked at by, where a full look costs as many compilations
ALWAYS = ("kit", "forward", "vjp", "cotangent", "linear", "return", "value", "scale", "options")


def judge(
    plants: Iterable[Plant | StepPlant],
    framework: str,
    others: Mapping[str, Callable[[Plant], bool]],
    every: bool = False,
) -> Iterator[Verdict]:
    """Both twins of every plant under the kit; the broken one under the other checkers too. The
    broken one is run through the families responsible for it, and so, with those that are always
    run, is the right one in JAX; both through `every` one if asked."""
    for plant in plants:
        few = framework == "jax" and not every
        right = plant.report(plant.right, framework, (*ALWAYS, *plant.families) if few else None)
        wrong = plant.report(plant.wrong, framework, None if every else plant.families)
        rule = isinstance(plant, Plant)
        yield Verdict(
            plant,
            framework,
            [str(f) for f in right.failures],
            right.compared,
            wrong.caught_by(),
            (right.seconds, wrong.seconds),
            {name: check(plant) if rule else None for name, check in others.items()},  # type: ignore[arg-type]
        )
