"""Bugs planted in small rules, each beside its correct twin: what the kit is measured by.

A plant is one mechanism of a bug that was met in public. Its correct twin must raise no alarm, the
broken one must be caught, by the check that is responsible for the mechanism.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bpx.verify.candidate.api import verify_rule
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


@dataclass(frozen=True)
class Correct:
    """A correct function, from the framework or from bpx; `how` goes to verify_rule, with its
    reference."""

    name: str
    rule: Callable[..., Any]
    args: Sequence[Any]  # Float, Index, Mask
    how: Mapping[str, Any]

    def report(self, framework: str) -> CandidateReport:
        return verify_rule(self.rule, self.args, framework=framework, **self.how)


@dataclass(frozen=True)
class Verdict:
    """What the kit said of one plant, and what the framework's own checker did."""

    plant: Plant
    framework: str
    alarms: list[str]  # of the correct twin
    compared: int
    caught_by: list[str]
    seconds: tuple[float, float]
    others: Mapping[str, bool]  # checker -> whether it caught the bug

    @property
    def caught(self) -> bool:
        return bool(set(self.caught_by) & set(self.plant.families))


def judge(
    plants: Iterable[Plant],
    framework: str,
    others: Mapping[str, Callable[[Plant], bool]],
    every: bool = False,
) -> Iterator[Verdict]:
    """Both twins of every plant under the kit; the broken one under the other checkers too. The
    broken one is run through the families responsible for it, through `every` one if asked."""
    for plant in plants:
        how = {**plant.how, "framework": framework}
        right = verify_rule(plant.right, plant.args, ref=plant.ref, **how)
        if not every:
            how["only"] = plant.families
        wrong = verify_rule(plant.wrong, plant.args, ref=plant.ref, **how)
        yield Verdict(
            plant,
            framework,
            [str(f) for f in right.failures],
            right.compared,
            wrong.caught_by(),
            (right.seconds, wrong.seconds),
            {name: check(plant) for name, check in others.items()},
        )
