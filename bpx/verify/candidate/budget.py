"""What a rule's checks may cost, and in which order they are run, so that a cut leaves some of
every family.

Seconds are of this process, on all its processors: what else the machine does cuts nothing.
"""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bpx.verify.candidate.plan import Check, NotRun

SECONDS = {"torch": 2.0, "jax": 5.0}
QUICK = 0.3
ALWAYS = ("kit",)  # the kit checks itself in every run
FIRST = ("forward", "vjp")
SLACK = 1.5  # two checks of a family, or compilations of a rule, differ by so much
FILLED = 0.85  # of a budget: arguments are drawn before it, the report is made after, guesses err


def seconds(framework: str, budget: float | None, quick: bool, whole: bool) -> float:
    """What is asked for; without that the default, nothing where the plan is to be run `whole`."""
    if budget is not None:
        return budget
    return math.inf if whole else QUICK if quick else SECONDS[framework]


def turns(planned: Sequence[Check]) -> list[int]:
    """Places in the plan, in the order in which checks are run: the kit's own, then one of every
    family after the other, the long ones last."""
    met: dict[str, int] = {}
    keys = []
    for at, check in enumerate(planned):
        turn = met.get(check.family, 0)
        met[check.family] = turn + 1
        keys.append((check.family not in ALWAYS, check.long, turn, at))
    return sorted(range(len(planned)), key=keys.__getitem__)


def _kinds(check: Check) -> tuple[str, ...]:
    return (check.family, "long") if check.long else (check.family,)


@dataclass
class Purse:
    """What is left of `budget` seconds, and what checks have cost, by family. `compiles`: a new
    shape costs what the first call has; without, that is what imports and caches cost, once."""

    budget: float = math.inf
    compiles: bool = False
    began: float = field(default_factory=time.process_time)
    longest: dict[str, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        return time.process_time() - self.began

    def fits(self, seconds: float) -> bool:
        """Whether so many more are left."""
        return self.spent + seconds < FILLED * self.budget

    def holds(self, check: Check) -> bool:
        """Whether a check is begun: what the longest of its kind has cost, or a compilation, must
        be left. The kit's own and a first comparison are, whatever they cost; one that is tried
        at a smaller size says by itself what it will."""
        family = check.family
        if family in ALWAYS or (family in FIRST and family not in self.longest):
            return True
        if check.tried and not self.compiles:
            return self.fits(0.0)
        names = (*ALWAYS, *_kinds(check)) if self.compiles else _kinds(check)
        return self.fits(SLACK * max(self.longest.get(name, 0.0) for name in names))

    def afford(self, seconds: float) -> None:
        """For a check that has begun and knows what its next step costs: raises NotRun where so
        many more are not left."""
        if not self.fits(seconds):
            raise NotRun(told(self.budget))

    def pay(self, check: Check, since: float) -> None:
        """`since`: what was spent before."""
        for name in _kinds(check):
            self.longest[name] = max(self.spent - since, self.longest.get(name, 0.0))


@contextlib.contextmanager
def old_garbage_kept() -> Iterator[None]:
    """What is there when the block begins is not looked through for garbage in it: with the modules
    of a framework that takes half of a quick look's seconds, at the cost of whichever rule is
    there. Garbage of the block itself is collected."""
    if gc.get_freeze_count():  # someone else's
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def told(budget: float) -> str:
    """Why a check was left out."""
    return f"the budget of {budget:g} s is spent: a larger one, or full=True, runs it"
